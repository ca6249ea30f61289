"""Make the two programs that ship, fp32 and int8, from the same checkpoint; prove what they are and compare them.

    python -m stages.quantize        (dvc repro quantize)

Reads the checkpoint, training images for the calibration and the test images for the comparison; writes
models/fp32.pte, models/int8.pte, their record, the metrics, and the images on which the programs disagree. Fails
when a program is not what it should be (nothing but the metrics is written then), and when int8 costs too much
accuracy.
"""

import torch
from torch import Tensor

from armdigits import paths, stage
from armdigits.checkpoint import read_checkpoint
from armdigits.comparison import Disagreement, disagreements, int8_activations, mcnemar, sqnr_db
from armdigits.dataset import Split, read_provenance, read_split
from armdigits.errors import GateFailed
from armdigits.files import write_bytes, write_csv, write_json
from armdigits.inspection import Contents, read_back
from armdigits.model import NeuralNetwork
from armdigits.parameters import Parameters, Quantize
from armdigits.pictures import digits_grid
from armdigits.programs import empty, export, lower, quantize
from armdigits.proofs import prove_fp32, prove_int8, table
from armdigits.runtime import read_program, use_threads, write_programs
from armdigits.scoring import accuracy, activations_of

PROGRAMS = {"fp32": paths.FP32_PROGRAM, "int8": paths.INT8_PROGRAM}
SHOWN = 40  # disagreements in the picture


def build(network: NeuralNetwork, calibration: Tensor, settings: Quantize) -> dict[str, bytes]:
    """The fp32 and the int8 program of `network`, calibrated on images float32 [N, 1, 28, 28]."""
    exported = export(network, settings.max_batch)
    return {"fp32": lower(exported), "int8": lower(quantize(exported, calibration, settings.max_batch))}


def noise(network: NeuralNetwork, int8: Contents, pixels: Tensor) -> dict[str, dict[str, float | None]]:
    """For each layer, how far the int8 program's activations on these images lie above the noise, in decibels.

    The errors of the layers before it are included.
    """
    layers = zip(activations_of(network, pixels).items(), int8_activations(int8, pixels), strict=True)
    return {name: {"sqnr_db": sqnr_db(signal, values)} for (name, signal), values in layers}


def picture(test: Split, found: list[Disagreement]) -> bytes:
    """A PNG of the first images that the programs read differently."""
    shown = found[:SHOWN]
    captions = [f"{row.actual}, image {row.image}:\nfp32 {row.fp32}, int8 {row.int8}" for row in shown]
    title = f"{len(shown)} of the {len(found)} among {len(test):,} test images that fp32 and int8 read differently"
    return digits_grid(title, test.images[[row.image for row in shown]].numpy(), captions)


def main(parameters: Parameters) -> None:
    """Prove what was built, write it, score what was written, then judge."""
    settings = parameters.quantize
    torch.set_num_threads(parameters.train.threads)
    use_threads(parameters.train.threads)
    network, weights_sha256 = read_checkpoint(paths.MODEL, parameters.train)
    calibration = read_split(paths.TRAIN_DATA).pixels()[: settings.calibration_samples]
    programs = build(network, calibration, settings)

    contents = {name: read_back(content, PROGRAMS[name]) for name, content in programs.items()}
    proofs = {
        "fp32": prove_fp32(contents["fp32"], network),
        "int8": prove_int8(contents["int8"], network, calibration),
    }
    metrics = {
        "dataset": read_provenance()["name"],
        "proofs": {name: {proof.name: proof.holds for proof in checks} for name, checks in proofs.items()},
    }
    print("\n".join(table(name, checks) for name, checks in proofs.items()))
    failed = [f"{PROGRAMS[name]}: {proof}" for name, checks in proofs.items() for proof in checks if not proof.holds]
    if failed:
        write_json(paths.QUANTIZE_METRICS, metrics)
        raise GateFailed(*failed)
    written = {PROGRAMS[name]: content for name, content in programs.items()}
    write_programs({**written, paths.EMPTY_PROGRAM: empty(settings.max_batch)}, weights_sha256)

    test = read_split(paths.TEST_DATA)
    logits = {name: read_program(path, weights_sha256).logits_of(test.pixels()) for name, path in PROGRAMS.items()}
    found = disagreements(logits["fp32"], logits["int8"], test.targets())
    metrics |= {
        name: {"accuracy": accuracy(logits[name], test.targets()), "bytes": len(content)}
        for name, content in programs.items()
    }
    metrics["accuracy_drop"] = round(metrics["fp32"]["accuracy"] - metrics["int8"]["accuracy"], 6)
    metrics["agreement"] = round(1 - len(found) / len(test), 6)
    metrics["disagreements"] = mcnemar(found)
    metrics["layers"] = noise(network, contents["int8"], test.pixels())
    write_json(paths.QUANTIZE_METRICS, metrics)
    write_csv(paths.DISAGREEMENTS, Disagreement._fields, found)
    write_bytes(paths.DISAGREEING, picture(test, found))

    print("\n".join(f"{name} {metrics[name]}" for name in ("fp32", "int8", "disagreements", "layers")))
    drop = metrics["accuracy_drop"]
    print(f"drop {drop:.4f}  agreement {metrics['agreement']:.4f}")
    if drop > settings.max_accuracy_drop:
        raise GateFailed(f"accuracy drop {drop:.4f} is above quantize.max_accuracy_drop ({settings.max_accuracy_drop})")


if __name__ == "__main__":
    stage.run("quantize", main)
