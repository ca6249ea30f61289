"""A small run to report on, made here: it needs no stage."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from armdigits.core import files, lock, paths
from armdigits.models.checkpoint import write_checkpoint
from armdigits.models.mlp import NeuralNetwork
from armdigits.report import charts
from armdigits.report.figures import image_grid
from tests.helpers import PARAMETERS, some_images, write_some_data

CHARTS = ("curves", "confusion_matrix", "percentiles", "intervals", "bars")
DRAWN: dict[str, str] = {}  # the charts of this process
VARIANTS = {
    "eager": 36.0,
    "fp32": 10.5,
    "int8": 6.75,
    "c": 3.0,
    "c_no_zeros": 3.5,
    "int8_checked": 12.0,
    "int8_view": 6.0,
    "empty_call": 4.0,
}
RATIOS = {
    "int8_over_fp32": 0.65,
    "int8_over_eager": 0.1875,
    "fp32_over_eager": 0.29,
    "c_over_int8": 0.45,
    "c_over_eager": 0.08,
    "c_no_zeros_over_int8": 0.5,
    "int8_checked_over_eager": 0.33,
    "int8_view_over_int8": 0.9,
    "control": 1.0,
}
SIZES = [  # in dvc.lock, which vouches for none of these files: the stage has another name
    {"path": str(path), "md5": "0" * 32, "size": size}
    for path, size in ((paths.MODEL, 412040), (paths.FP32_PROGRAM, 414760))
]
SCORES = {"calibration_error": 0.01, "macro_precision": 0.9, "macro_recall": 0.9}
HOST = {
    "cpu": "Neoverse N1",
    "arch": "aarch64",
    "features": "asimd asimddp",
    "cores": 2,
    "system": "Linux",
    "python": "3.11.7",
    "torch": "2.13.0",
    "executorch": "1.4.1",
    "torchao": "0.18.0",
    "kernel": "6.1",
    "load": 0.5,
    "threads": 1,
}


def timings(factor: float) -> dict[str, Any]:
    """The entry of one batch size in benchmark-details.json."""
    variants = {
        name: {
            "p50_us": p50 * factor,
            "p90_us": p50 * factor * 1.5,
            "p99_us": p50 * factor * 3,
            "images_per_s": 1e6 / p50,
            "calls": 1000,
            "p90_indicative": True,
            "p99_indicative": True,
        }
        for name, p50 in VARIANTS.items()
    }
    ratios = {name: {"ratio": ratio, "low": ratio * 0.99, "high": ratio * 1.01} for name, ratio in RATIOS.items()}
    return {**variants, **ratios, "noisy": False}


def metrics() -> dict[Path, dict[str, Any]]:
    """The contents of the JSON files that the report reads."""
    programs = {"fp32": {"accuracy": 0.9875}, "int8": {"accuracy": 0.9825, "bytes": 112552}}
    losses = {"train_loss": 0.4, "validation_loss": 0.2, "validation_accuracy": 0.98}
    test = {"dataset": "digits", "test_images": 30}
    target = {"bytes": 108304, "ram": 2192, "instructions": 27347}
    counted = {"compared": 300, "equal": 300, "code_bytes": 4304, "constant_bytes": 104000, "stack_bytes": 2192}
    counted |= {"instructions": 27347, "max_instructions": 30000}
    quantized = {f"{name}.pte": {"calibration_error": 0.01, "bytes": 112552} for name in ("fp32", "int8")}
    layers = {"linear1": {"sqnr_db": 42.22}, "linear2": {"sqnr_db": 38.25}, "linear3": {"sqnr_db": 31.5}}
    classes = {str(digit): {"precision": 0.9, "recall": 0.9, "f1": 0.9 + digit / 100} for digit in range(10)}
    digests = {f"{name}.pte": files.sha256(name.encode()) for name in ("fp32", "int8", "empty")}
    return {
        paths.TRAIN_METRICS: {"dataset": "digits", "parameters": 102762, **losses},
        paths.TRAIN_DETAILS: {"bytes": 412040, "epochs": 3},
        paths.EVALUATE_METRICS: {"accuracy": 0.9875, "loss": 0.1, "macro_f1": 0.945},
        paths.EVALUATE_DETAILS: {**test, **SCORES, "classes": classes},
        paths.QUANTIZE_METRICS: {**programs, "agreement": 0.995},
        paths.QUANTIZE_DETAILS: {"dataset": "digits", "proofs": {}, "programs": quantized, "layers": layers},
        paths.EXPORT_METRICS: {"equal_logits": 300, "aarch64_dotprod": target},
        paths.EXPORT_DETAILS: {
            "dataset": "digits",
            "program_sha256": digests["int8.pte"],
            "sources_sha256": {},
            "source_bytes": 400000,
            "compared": 300,
            "aarch64_dotprod": counted,
            "left_out": {},
        },
        paths.BENCHMARK_DETAILS: {"dataset": "digits", "host": HOST, "batch_1": timings(1), "batch_8": timings(4)},
        paths.PROGRAM_RECORD: {
            "format": 2,
            "weights_sha256": "ab" * 32,
            "programs_sha256": digests,
            "shape": [1, 28, 28],
            "reading": "ink",
            "classes": list(classes),
        },
    }


def draw_once(name: str) -> Callable[..., str]:
    """The chart function `name`, which draws a chart again only for other arguments: drawing takes most of the time."""
    draw = getattr(charts, name)

    def drawn(*args: object, **kwargs: object) -> str:
        key = repr((name, args, kwargs))
        if key not in DRAWN:
            DRAWN[key] = draw(*args, **kwargs)
        return DRAWN[key]

    return drawn


def write_small_run() -> None:
    """A run's outputs in the current folder: 30 test images of noise, a model without training, made-up figures."""
    shutil.copy(PARAMETERS, paths.PARAMETERS)
    write_some_data()
    torch.manual_seed(0)
    write_checkpoint(paths.MODEL, NeuralNetwork())
    for path, content in metrics().items():
        files.write_json(path, content)
    lock.LOCK.write_text(json.dumps({"stages": {"sizes": {"outs": SIZES}}}), "utf-8")
    history = [(1, 0.9, 0.5, 0.85), (2, 0.5, 0.3, 0.92), (3, 0.4, 0.2, 0.98)]
    files.write_csv(paths.HISTORY, ("epoch", "train_loss", "validation_loss", "validation_accuracy"), history)
    predictions = [(number % 10, 7 if number % 10 == 2 else number % 10) for number in range(30)]
    files.write_csv(paths.PREDICTIONS, ("actual", "predicted"), predictions)
    files.write_bytes(paths.LATENCY, image_grid("any picture", some_images(1).images.numpy(), ["caption"], "ink"))
    files.write_bytes(paths.LAYERS, b"a layer <Linear>\n")


@pytest.fixture
def small_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder with a small run in it."""
    for name in CHARTS:
        monkeypatch.setattr(charts, name, draw_once(name))
    write_small_run()
    return folder
