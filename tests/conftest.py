"""Fixtures: a small pipeline that has really run, and the order in which the test processes take the files."""

import fcntl
import gc
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import suppress
from itertools import chain
from pathlib import Path

import hypothesis
import pytest
import torch

from tests.helpers import copy_project, run

os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # as in core/start.py; the child processes inherit it
# The same examples every time, and no time limit for one: tests are deterministic, machines are not.
hypothesis.settings.register_profile("deterministic", derandomize=True, deadline=None)
hypothesis.settings.load_profile("deterministic")
torch.set_num_threads(1)  # pytest runs a process for each core
gc.set_threshold(50_000)  # as in core/start.py

FOLDER = "TESTS_PIPELINE"  # the environment variable that names the pipeline's folder
SECONDS = "seconds"  # the file there which says how long the pipeline took
STARTED, WAITED = pytest.StashKey[float](), pytest.StashKey[float]()
# Python imports it at start-up. Each stage leaves the names of all modules that it has imported when it ends.
RECORD_IMPORTS = """
import os, sys
from pathlib import Path

def write_and_exit(code, exit=os._exit):
    stage = sys.orig_argv[-1]
    if stage.startswith("stages."):
        imports = Path(__file__).with_name("imports") / stage.partition(".")[2]
        imports.write_text("\\n".join(sys.modules), "utf-8")
    exit(code)

os._exit = write_and_exit  # which ends every stage, see armdigits/core/stage.py
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current one during the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """One process per core for all tests; files named on the command line run in this process, which starts sooner."""
    return 0 if config.option.file_or_dir else None


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of the processes that xdist starts."""
    return hasattr(config, "workerinput")


@pytest.hookimpl(tryfirst=True)  # before xdist starts the other processes, which inherit the environment
def pytest_sessionstart(session: pytest.Session) -> None:
    """Choose the folder of the pipeline; when all tests run, start it at once, beside those that do not need it."""
    config = session.config
    if is_worker(config):
        return
    config.stash[STARTED] = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="pipeline-"))
    os.environ[FOLDER] = str(folder)
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    some = config.option.file_or_dir or config.option.keyword or config.option.collectonly
    if not some:
        thread = threading.Thread(target=start_pipeline, args=[folder])
        thread.start()
        config.add_cleanup(thread.join)


def start_pipeline(folder: Path) -> None:
    """Run the pipeline. If it fails, the first test that needs it runs it again, and reports the failure."""
    with suppress(AssertionError):
        run_pipeline(folder)


@pytest.hookimpl(trylast=True)  # when the slow tests are deselected
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that need the pipeline behind the others; the longest of them, the one with branches, first."""
    needed = {item.path for item in items if "pipeline" in item.fixturenames}
    longest = {item.path for item in items if "history" in item.fixturenames}
    items.sort(key=lambda item: (item.path in needed, item.path not in longest))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Do not count the wait for the pipeline as time of the test that waited."""
    report = yield
    report.duration -= item.session.stash.get(WAITED, 0.0)
    item.session.stash[WAITED] = 0.0
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """When all tests ran: one line about where the time went."""
    if config.option.file_or_dir or config.option.collectonly:
        return
    files: Counter[str] = Counter()
    for report in chain.from_iterable(terminalreporter.stats.values()):
        if isinstance(report, pytest.TestReport):
            files[report.nodeid.partition("::")[0]] += report.duration
    seconds = Path(os.environ[FOLDER]) / SECONDS
    parts = [f"the pipeline {seconds.read_text('utf-8')}"] if seconds.exists() else []
    parts += [f"{name} {spent:.0f}" for name, spent in files.most_common(4)]
    total = time.monotonic() - config.stash[STARTED]
    terminalreporter.write_line(f"tests took {total:.0f} s, side by side: {', '.join(parts)}")


def run_pipeline(folder: Path) -> Path:
    """The project in `folder`, whose pipeline has run once; of several processes, the first one runs it.

    The output of `dvc repro` is next to it, in repro.txt, and in imports/ the modules that each stage has imported.
    """
    project, printed = folder / "pipeline", folder / "repro.txt"
    with (folder / "pipeline.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            started = time.monotonic()
            shutil.rmtree(project, ignore_errors=True)  # of a process that failed
            copy_project(project)
            (folder / "imports").mkdir(exist_ok=True)
            (folder / "sitecustomize.py").write_text(RECORD_IMPORTS, "utf-8")
            for command in (
                ["git", "init", "-q", "-b", "main"],
                ["git", "config", "user.name", "tester"],
                ["git", "config", "user.email", "tester@example.invalid"],
                ["dvc", "init", "-q"],
                ["git", "add", "."],
                ["git", "commit", "-q", "-m", "start"],
                ["dvc", "repro"],
            ):
                done = run(project, *command, PYTHONPATH=str(folder))
                assert done.returncode == 0, done.stdout + done.stderr
            (folder / SECONDS).write_text(f"{time.monotonic() - started:.0f}", "utf-8")
            printed.write_text(done.stdout, "utf-8")
    return project


@pytest.fixture(scope="session")
def pipeline(request: pytest.FixtureRequest) -> Path:
    """A project under Git and DVC, on the embedded digits, which `dvc repro` has run once. Tests must not change it."""
    started = time.monotonic()
    project = run_pipeline(Path(os.environ[FOLDER]))
    request.session.stash[WAITED] = time.monotonic() - started
    return project


@pytest.fixture
def ran(pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project for one test to change, which is the current folder during the test."""
    project = tmp_path / "project"
    shutil.copytree(pipeline, project)
    monkeypatch.chdir(project)
    return project
