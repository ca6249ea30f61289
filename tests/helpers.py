"""What the tests share: projects to run stages in, and small data sets."""

import gzip
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

from armdigits.core import paths, records, stage
from armdigits.core.shape import MNIST, Shape
from armdigits.data.dataset import Split, write_dataset
from armdigits.pictures.reading import read_image
from benchmarks.data import noise

ROOT = Path(__file__).parent.parent
PARAMETERS = ROOT / "tests" / "params.yaml"  # their own: what a user changes in params.yaml fails no test
SOURCES = ("armdigits", "stages", "dvc.yaml", ".dvcignore", ".gitignore")
SMALL = {  # values that make a pipeline on the embedded digits quick
    "dataset.name": "digits",
    "dataset.validation": "200",
    "teach.epochs": "2",
    "train.epochs": "10",
    "evaluate.min_accuracy": "0.8",
    "quantize.calibration_samples": "1000",
    "quantize.max_accuracy_drop": "0.02",
    "quantize.max_batch": "64",
    "benchmark.batch_sizes": "[1, 8]",
    "benchmark.rounds": "8",
    "benchmark.calls": "8",
    "benchmark.max_ratio": "100.0",
}
needs_utf8_names = pytest.mark.skipif(
    sys.getfilesystemencoding() != "utf-8", reason="names of files have another encoding in this locale"
)
ASCII = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}  # the narrowest locale, on every machine
DIGITS = tuple("0123456789")
IMAGES = {"reading": "ink", "channels": 1, "height": 28, "width": 28}  # as in `dataset` of params.yaml
MIRROR = Path(os.environ.get("DATA_MIRROR", "")).absolute()
needs_mnist = pytest.mark.skipif(
    len(list(MIRROR.glob("*-ubyte.gz"))) != 4,
    reason="DATA_MIRROR names no folder with the four files of MNIST",
)


def set_parameters(project: Path, values: dict[str, str]) -> None:
    """Change values in the params.yaml of `project`, as a person would in an editor."""
    lines = (project / paths.PARAMETERS).read_text("utf-8").splitlines()
    section = ""
    left = dict(values)
    for number, line in enumerate(lines):
        if line and not line.startswith((" ", "#")):
            section = line.split(":")[0]
        key = f"{section}.{line.split(':')[0].strip()}"
        if key in left:
            lines[number] = f"  {key.split('.')[1]}: {left.pop(key)}"
    assert not left, f"no such keys: {left}"
    (project / paths.PARAMETERS).write_text("\n".join(lines) + "\n", "utf-8")


def copy_project(target: Path) -> Path:
    """A copy of the sources, without data, models, metrics and history, with the small parameters."""
    target.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    shutil.copy(PARAMETERS, target / paths.PARAMETERS)
    for folder in ("data", "models", "models/c", "metrics"):
        (target / folder).mkdir()
        shutil.copy(ROOT / folder / ".gitignore", target / folder / ".gitignore")
    set_parameters(target, SMALL)
    return target


def environment() -> dict[str, str]:
    """The environment of commands in a project: with this Python first on PATH."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"}


def run(project: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder, with more environment variables; its output is captured."""
    env = {**environment(), **variables}
    return subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)


def started(output: str) -> list[str]:
    """The stages that `dvc repro` says it started, in order; it took the others from its cache."""
    return re.findall(r"Running stage '(\w+)'", output)


def run_stage(project: Path, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one stage's script alone."""
    return run(project, sys.executable, "-m", f"stages.{name}", **environment)


def run_stage_here(name: str) -> int:
    """Run one stage in this process and the current folder; returns its exit code.

    For tests of messages and outputs: a separate process would import torch and the exporters again.
    """
    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = [signal.getsignal(number) for number in numbers]
    try:
        stage.run(name, import_module(f"stages.{name}").main, arguments=[])
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
    return 0


def results(project: Path) -> dict[Path, bytes]:
    """The bytes of every file in the folders that the stages write, by path."""
    folders = (project / name for name in ("data", "models", "metrics"))
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


def write_pictures(folder: Path, count: int, classes: dict[str, int] | None = None, side: int = 40) -> None:
    """Put pictures of scikit-learn's digits there, as `folder`/<class>/<number>.png.

    Args:
        folder: is made where it is missing.
        count: of pictures of each class.
        classes: for the name of each class the digit that is shown; by default three letters.
        side: of a picture, in pixels.
    """
    images, labels = load_digits(return_X_y=True)
    for name, digit in (classes or {"a": 0, "b": 1, "c": 7}).items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(images[labels == digit][:count]):
            picture = Image.fromarray(255 - (image * 15).astype(np.uint8).reshape(8, 8))
            picture.resize((side, side), Image.Resampling.BICUBIC).save(folder / name / f"{number}.png")


def write_idx(folder: Path, splits: dict[str, Split], prefix: str = "", compressed: bool = True) -> None:
    """Put the four IDX files of the splits `train` and `t10k` there."""
    folder.mkdir(parents=True, exist_ok=True)
    for part, split in splits.items():
        images = split.images.permute(0, 2, 3, 1).squeeze(3).numpy()  # the channels of a pixel come together
        for kind, array in ((f"images-idx{images.ndim}", images), ("labels-idx1", split.labels.numpy())):
            content = struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
            name = f"{prefix}{part}-{kind}-ubyte"
            if compressed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content, 1, mtime=0))
            else:
                (folder / name).write_bytes(content)


def program_record() -> records.Programs:
    """The record of the programs in the current folder."""
    return records.read(paths.PROGRAM_RECORD, records.Programs, "quantize")


def mnist_image(content: bytes, single: bool = True) -> NDArray[np.uint8]:
    """A picture file as an image like MNIST's: uint8 [28, 28]."""
    return read_image(content, "ink", MNIST, single)[0]


def some_images(count: int, seed: int = 0, shape: Shape = MNIST) -> Split:
    """Images of noise with labels 0, 1, ..., 9, 0, ...: uint8 [count, *shape]."""
    return noise(count, seed, shape=shape)


def write_some_data() -> None:
    """A valid, tiny data set in the current folder."""
    write_dataset(
        "digits",
        {"noise": "0"},
        {
            paths.TRAIN_DATA: some_images(60, 1),
            paths.VALIDATION_DATA: some_images(20, 2),
            paths.TEST_DATA: some_images(30, 3),
        },
        DIGITS,
    )
