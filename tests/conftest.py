"""Fixtures: a small pipeline that has really run, and the order in which the test processes take the files."""

import fcntl
import os
import shutil
from pathlib import Path

import hypothesis
import pytest
import torch

from tests.helpers import copy_project, run

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # as in stages/__init__.py; the child processes inherit it
# The same examples every time, and no time limit for one: tests are deterministic, machines are not.
hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None)
hypothesis.settings.load_profile("deterministic")
torch.set_num_threads(1)  # pytest runs a process for each core


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one during the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One process per core for all tests; files named on the command line run in this process, which starts sooner."""
    return 0 if config.option.file_or_dir else None


@pytest.hookimpl(trylast=True)  # when the slow tests are deselected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files in the order in which the processes take them.

    The first file needs the pipeline, so its process runs it, while the others take files that do not need it.
    """
    needed = [item.path for item in items if "pipeline" in item.fixturenames]
    longest = [item.path for item in items if "history" in item.fixturenames] or needed[-1:]
    items.sort(key=lambda item: (item.path not in longest, item.path in needed))


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A project under Git and DVC, on the embedded digits, which `dvc repro` has run once. Tests must not change it.

    The output of `dvc repro` is next to it, in repro.txt. All pytest processes share the project: the first one that
    needs it runs the pipeline, the others wait.
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
