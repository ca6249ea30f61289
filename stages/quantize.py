"""Make the two programs that ship: fp32 and int8, from the same checkpoint, and compare them.

    python -m stages.quantize        (dvc repro quantize)

Reads the checkpoint, training images for the calibration and the test images for the comparison; writes
models/fp32.pte, models/int8.pte, their record and the metrics. Fails when int8 costs too much accuracy.
"""

import torch

from armdigits import paths, stage
from armdigits.checkpoint import read_checkpoint
from armdigits.dataset import read_provenance, read_split
from armdigits.errors import GateFailed
from armdigits.files import write_json
from armdigits.model import NeuralNetwork
from armdigits.parameters import Parameters, Quantize
from armdigits.programs import export, lower, quantize
from armdigits.runtime import read_program, use_threads, write_programs
from armdigits.scoring import accuracy


def build(network: NeuralNetwork, calibration: torch.Tensor, settings: Quantize) -> tuple[bytes, bytes]:
    """The fp32 and the int8 program of `network`, calibrated on images float32 [N, 1, 28, 28]."""
    exported = export(network, settings.max_batch)
    return lower(exported), lower(quantize(exported, calibration, settings.max_batch))


def main(parameters: Parameters) -> None:
    """Write the programs, score what was written, then judge."""
    settings = parameters.quantize
    torch.set_num_threads(parameters.train.threads)
    use_threads(parameters.train.threads)
    network, weights_sha256 = read_checkpoint(paths.MODEL, parameters.train)
    calibration = read_split(paths.TRAIN_DATA).pixels()[: settings.calibration_samples]
    fp32, int8 = build(network, calibration, settings)
    write_programs({paths.FP32_PROGRAM: fp32, paths.INT8_PROGRAM: int8}, weights_sha256)

    test = read_split(paths.TEST_DATA)
    pixels, targets = test.pixels(), test.targets()
    logits = {
        path: read_program(path, weights_sha256).logits_of(pixels) for path in (paths.FP32_PROGRAM, paths.INT8_PROGRAM)
    }
    metrics = {
        "dataset": read_provenance()["name"],
        "fp32": {"accuracy": accuracy(logits[paths.FP32_PROGRAM], targets), "bytes": len(fp32)},
        "int8": {"accuracy": accuracy(logits[paths.INT8_PROGRAM], targets), "bytes": len(int8)},
    }
    drop = metrics["fp32"]["accuracy"] - metrics["int8"]["accuracy"]
    metrics["accuracy_drop"] = round(drop, 6)
    metrics["agreement"] = accuracy(logits[paths.INT8_PROGRAM], logits[paths.FP32_PROGRAM].argmax(1))
    write_json(paths.QUANTIZE_METRICS, metrics)

    print(f"fp32 {metrics['fp32']}\nint8 {metrics['int8']}\ndrop {drop:.4f}  agreement {metrics['agreement']:.4f}")
    if drop > settings.max_accuracy_drop:
        raise GateFailed(f"accuracy drop {drop:.4f} is above quantize.max_accuracy_drop ({settings.max_accuracy_drop})")


if __name__ == "__main__":
    stage.run("quantize", main)
