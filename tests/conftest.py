"""What the tests share: a project folder of their own, and one small pipeline that has really run."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import hypothesis
import pytest
import torch

from armdigits import paths, stage
from armdigits.dataset import Split, write_dataset

# The same examples every time, and no limit on the time of one: tests are deterministic, machines are not.
hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None)
hypothesis.settings.load_profile("deterministic")
torch.set_num_threads(1)  # pytest runs a process for each core

ROOT = Path(__file__).parent.parent
SOURCES = ("armdigits", "stages", "tools", "params.yaml", "dvc.yaml", ".dvcignore", ".gitignore")
SMALL = {  # values of params.yaml that make a pipeline on the embedded digits quick
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


def set_parameters(project: Path, values: dict[str, str]) -> None:
    """Change values in the params.yaml of `project`, as a person would in an editor."""
    lines = (project / paths.PARAMETERS).read_text().splitlines()
    section = ""
    left = dict(values)
    for number, line in enumerate(lines):
        if line and not line.startswith((" ", "#")):
            section = line.split(":")[0]
        key = f"{section}.{line.split(':')[0].strip()}"
        if key in left:
            lines[number] = f"  {key.split('.')[1]}: {left.pop(key)}"
    assert not left, f"no such keys: {left}"
    (project / paths.PARAMETERS).write_text("\n".join(lines) + "\n")


def copy_project(target: Path) -> Path:
    """A copy of the sources, without data, models, metrics and history, with the small parameters."""
    target.mkdir(parents=True, exist_ok=True)
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target / name)
    for folder in ("data", "models", "metrics"):
        (target / folder).mkdir()
        shutil.copy(ROOT / folder / ".gitignore", target / folder / ".gitignore")
    set_parameters(target, SMALL)
    return target


def run(project: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the project's folder with this Python first on PATH; its output is captured."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1", **environment}
    return subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)


def run_stage(project: Path, name: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run one stage's script alone."""
    return run(project, sys.executable, "-m", f"stages.{name}", **environment)


def run_stage_here(name: str) -> int:
    """Run one stage in this process and the current folder; returns its exit code.

    For tests of what a stage says and writes: a process of its own would import torch and the exporters anew.
    """
    numbers = (signal.SIGTERM, signal.SIGINT)
    handlers = [signal.getsignal(number) for number in numbers]
    try:
        stage.run(name, import_module(f"stages.{name}").main)
    except SystemExit as ended:
        return ended.code
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)
    return 0


def results(project: Path) -> dict[Path, bytes]:
    """What lies in the folders in which the stages write: the bytes by the path."""
    folders = (project / name for name in ("data", "models", "metrics"))
    return {path: path.read_bytes() for folder in folders for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one during the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """A process for each core, for all tests; files that are named run in this one, which starts sooner."""
    return 0 if config.option.file_or_dir else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files in the order in which the processes take them.

    First the one that needs the pipeline longest: its process makes the pipeline. Meanwhile the others have the
    files that do not need it.
    """
    history = {item.path for item in items if "history" in item.fixturenames}
    pipeline = {item.path for item in items if "pipeline" in item.fixturenames}
    items.sort(key=lambda item: (item.path not in history, item.path in pipeline))


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A project under Git and DVC, on the embedded digits, which `dvc repro` has run once. Tests must not change it.

    What `dvc repro` printed lies beside it, in repro.txt. The processes of one pytest share the project: the first
    that needs it makes it, the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    folder = base if worker_id == "master" else base.parent
    project, printed = folder / "pipeline", folder / "repro.txt"
    with (folder / "pipeline.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            shutil.rmtree(project, ignore_errors=True)  # of a process that failed
            copy_project(project)
            for command in (
                ["git", "init", "-q", "-b", "main"],
                ["git", "config", "user.name", "tester"],
                ["git", "config", "user.email", "tester@example.invalid"],
                ["dvc", "init", "-q"],
                ["git", "add", "."],
                ["git", "commit", "-q", "-m", "start"],
                ["dvc", "repro"],
            ):
                done = run(project, *command)
                assert done.returncode == 0, done.stdout + done.stderr
            printed.write_text(done.stdout)
    return project


@pytest.fixture
def ran(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project for one test to change, which is the current folder during the test."""
    project = tmp_path / "project"
    shutil.copytree(pipeline, project)
    monkeypatch.chdir(project)
    return project


def some_images(count: int, seed: int = 0) -> Split:
    """Images of noise with labels 0, 1, ..., 9, 0, ...: uint8 [count, 28, 28]."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 28, 28), dtype=torch.uint8, generator=generator)
    return Split(images, (torch.arange(count) % 10).to(torch.uint8))


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
    )
