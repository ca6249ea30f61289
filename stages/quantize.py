"""Make the fp32 and the int8 program from the model, prove what each contains, and compare them.

    dvc repro quantize
    python -m stages.quantize

Reads the checkpoint, training images for the calibration, and the test images for the comparison. Writes the programs
models/{fp32,int8,empty}.pte and their record, the metrics, and the images that the programs classify differently.

Fails when a proof does not hold (then only the list of proofs is written, to metrics/quantize-details.json), or when
int8 costs more accuracy than quantize.max_accuracy_drop.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from armdigits.core import paths, records, stage
from armdigits.core.errors import BadInput, GateFailed
from armdigits.core.files import write_bytes, write_csv
from armdigits.core.parameters import Parameters, Quantize
from armdigits.data.dataset import Split, pixels_of, read_provenance, read_split, shape_of
from armdigits.models.checkpoint import read_checkpoint
from armdigits.models.scoring import accuracy, activations_of, calibration_error
from armdigits.program import proofs, reference
from armdigits.program.build import empty, lower, quantize, trace
from armdigits.program.contents import Contents, read_back
from armdigits.program.cost import Disagreement, disagreements, mcnemar, powers, sqnr_db
from armdigits.program.runtime import Program, use_threads, write_programs
from armdigits.report.figures import image_grid

PROGRAMS = {"fp32": paths.FP32_PROGRAM, "int8": paths.INT8_PROGRAM}
IN_THE_FIGURE = 40  # disagreements


def build_programs(model: nn.Module, calibration: Tensor, settings: Quantize) -> dict[str, bytes]:
    """The fp32 and the int8 program of `model`, calibrated on images float32 [N, C, H, W]."""
    exported = trace(model, shape_of(calibration), settings.max_batch)
    return {"fp32": lower(exported), "int8": lower(quantize(exported, calibration, settings.max_batch))}


def scores(
    logits: dict[str, Tensor], sizes: dict[str, int], test: Split
) -> tuple[records.QuantizeMetrics, dict[str, Any], list[Disagreement]]:
    """Compare the programs by their logits float32 [N, 10] for the test images.

    Returns:
        The metrics; for the details, the calibration error and the size of each program, and `accuracy_drop`; and the
        images that the programs classify differently.
    """
    targets = test.targets()
    found = disagreements(logits["fp32"], logits["int8"], targets)
    fp32, int8 = (accuracy(logits[name], targets) for name in PROGRAMS)
    metrics = records.QuantizeMetrics(
        fp32=records.Fp32Metrics(accuracy=fp32),
        int8=records.Int8Metrics(accuracy=int8, bytes=sizes["int8"]),
        agreement=round(1 - len(found) / len(test), 6),
    )
    programs = {
        path.name: {
            "calibration_error": round(calibration_error(logits[name], targets), 6),
            "bytes": sizes[name],
        }
        for name, path in PROGRAMS.items()
    }
    return metrics, {"programs": programs, "accuracy_drop": round(fp32 - int8, 6)}, found


def layer_figures(
    model: nn.Module, int8: Contents, images: Tensor
) -> tuple[dict[str, dict[str, float | None]], NDArray[np.float32]]:
    """The noise of int8 in each layer, and the logits of the reference, which computes the layers.

    Args:
        model: the fp32 model.
        int8: the contents of the int8 program.
        images: uint8 [N, C, H, W].

    Returns:
        The signal-to-quantization-noise ratio of each layer's int8 activations, including the noise of earlier layers,
        and the logits float32 [N, classes].
    """
    logits: list[NDArray[np.float32]] = []
    totals: dict[str, NDArray[np.float64]] = defaultdict(lambda: np.zeros(2))
    for batch in map(pixels_of, images.split(reference.BATCH)):
        activations = reference.activations(int8, batch.numpy())
        for (name, signal), quantized in zip(activations_of(model, batch).items(), activations, strict=True):
            totals[name] += powers(signal.numpy(), quantized)
        logits.append(activations[-1])
    return {name: {"sqnr_db": sqnr_db(*total.tolist())} for name, total in totals.items()}, np.concatenate(logits)


def table(metrics: records.QuantizeMetrics, details: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{'program':<14}{'accuracy':>10}{'bytes':>12}"]
    for path, share in ((paths.FP32_PROGRAM, metrics.fp32.accuracy), (paths.INT8_PROGRAM, metrics.int8.accuracy)):
        lines.append(f"{path.stem:<14}{share:>10.4f}{details['programs'][path.name]['bytes']:>12,}")
    lines += [f"{'drop':<14}{details['accuracy_drop']:>10.4f}", f"{'agreement':<14}{metrics.agreement:>10.4f}"]
    row = "disagreements {count:>10}  fp32 right {fp32_right}, int8 right {int8_right}, McNemar p {p_value:.3g}"
    lines += [row.format(**details["disagreements"]), f"{'layer':<14}{'SQNR dB':>10}"]
    for name, figures in details["layers"].items():
        ratio = figures["sqnr_db"]
        lines.append(f"{name:<14}" + ("-" if ratio is None else f"{ratio:.2f}").rjust(10))
    return "\n".join(lines)


def named(found: list[Disagreement], classes: list[str]) -> list[tuple[int, str, str, str]]:
    """The disagreements with the names of the classes."""
    return [(row.image, classes[row.actual], classes[row.fp32], classes[row.int8]) for row in found]


def figure(test: Split, found: list[Disagreement], classes: list[str], reading: str) -> bytes:
    """A PNG of the first images that the programs classify differently."""
    shown = found[:IN_THE_FIGURE]
    captions = [
        f"{actual}, image {image}:\nfp32 {fp32}, int8 {int8}" for image, actual, fp32, int8 in named(shown, classes)
    ]
    title = f"{len(shown)} of {len(found)} images (of {len(test):,}) that fp32 and int8 classify differently"
    return image_grid(title, test.images[[row.image for row in shown]].numpy(), captions, reading)


def check(proven: dict[str, list[proofs.Proof]], details: dict[str, Any]) -> None:
    """Put the proofs into the details.

    Raises:
        GateFailed: a proof does not hold; the details have been written.
    """
    details["proofs"] = {name: {proof.name: proof.holds for proof in checks} for name, checks in proven.items()}
    failed = [f"{PROGRAMS[name]}: {proof}" for name, checks in proven.items() for proof in checks if not proof.holds]
    if failed:
        print("\n".join(proofs.table(name, checks) for name, checks in proven.items()))
        records.write(paths.QUANTIZE_DETAILS, records.QuantizeDetails.model_validate(details))
        raise GateFailed(*failed)


def main(parameters: Parameters) -> None:
    """Prove the programs, score them, write them and the metrics, then apply the gate."""
    settings = parameters.quantize
    torch.set_num_threads(parameters.train.threads)
    use_threads(parameters.train.threads)
    model, weights_sha256 = read_checkpoint(paths.MODEL, parameters.train, parameters.model)
    calibration = pixels_of(read_split(paths.TRAIN_DATA).images[: settings.calibration_samples])
    if len(calibration) < settings.calibration_samples:
        expected = f"at most {len(calibration)}, the training images in {paths.TRAIN_DATA}"
        raise BadInput(
            f"params.yaml: quantize.calibration_samples: expected {expected}, got {settings.calibration_samples}"
        )
    test = read_split(paths.TEST_DATA)
    provenance = read_provenance()
    classes = provenance.classes

    programs = build_programs(model, calibration, settings)
    contents = {name: read_back(content, PROGRAMS[name]) for name, content in programs.items()}
    proven = {
        "fp32": proofs.prove_fp32(contents["fp32"], model, test.shape),
        "int8": proofs.prove_int8(contents["int8"], model, calibration),
    }
    details: dict[str, Any] = {"dataset": provenance.name}
    check(proven, details)
    logits = {name: Program(content, PROGRAMS[name]).logits(test.images) for name, content in programs.items()}
    layers, reference_logits = layer_figures(model, contents["int8"], test.images)
    proven["int8"].append(proofs.prove_logits(logits["int8"].numpy(), reference_logits))
    check(proven, details)
    print("\n".join(proofs.table(name, checks) for name, checks in proven.items()))

    written = {PROGRAMS[name]: content for name, content in programs.items()}
    written[paths.EMPTY_PROGRAM] = empty(test.shape, settings.max_batch, len(classes))
    write_programs(written, weights_sha256, provenance)
    metrics, more, found = scores(logits, {name: len(content) for name, content in programs.items()}, test)
    details |= {**more, "disagreements": mcnemar(found), "layers": layers}
    records.write(paths.QUANTIZE_METRICS, metrics)
    records.write(paths.QUANTIZE_DETAILS, records.QuantizeDetails.model_validate(details))
    write_csv(paths.DISAGREEMENTS, Disagreement._fields, named(found, classes))
    write_bytes(paths.DISAGREEMENTS_FIGURE, figure(test, found, classes, provenance.reading))
    print(table(metrics, details))

    drop = details["accuracy_drop"]
    if drop > settings.max_accuracy_drop:
        raise GateFailed(f"accuracy drop {drop:.4f} is above quantize.max_accuracy_drop ({settings.max_accuracy_drop})")


if __name__ == "__main__":
    stage.run("quantize", main)
