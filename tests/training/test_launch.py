"""launch.py starts the ranks by torchrun: what happens when one of them, or launch.py itself, is killed."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from armdigits.training.processes import RESUME
from tests.helpers import run, set_parameters
from tests.training.ranks import EPOCHS, LAUNCH, OUTS, TRAIN, contents, free_port, make_project, set_epochs

needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the ranks are found through /proc")


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return make_project(tmp_path_factory.mktemp("launch") / "project")


def launch(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(project, sys.executable, *LAUNCH, *arguments)


@pytest.fixture(scope="module")
def expected(project) -> dict[str, bytes]:
    """The results of two processes that nothing interrupts."""
    done = launch(project, *TRAIN)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()[-EPOCHS:]
    assert [line[:9] for line in lines] == [f"epoch {epoch:2}/" for epoch in range(1, EPOCHS + 1)]
    assert not (project / ".state/train").exists()
    return contents(project)


def start(project: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """Start the training and wait for its second epoch; returns the process and the ids of the ranks, in order."""
    for name in OUTS:
        (project / name).unlink(missing_ok=True)
    command = [sys.executable, *LAUNCH, *TRAIN]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert any(line.startswith("epoch  2/") for line in process.stdout)
    ranks = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text("utf-8").split()
    assert len(ranks) == 2
    return process, [int(pid) for pid in ranks]


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.slow
@needs_proc
def test_a_killed_rank_ends_all_and_the_next_run_ends_with_the_same_bytes(project, expected):
    for killed in (0, 1):
        process, pids = start(project)
        os.kill(pids[killed], signal.SIGKILL)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        *of_ranks, last = errors.splitlines()
        assert last == f"train: rank {killed} (pid {pids[killed]}) was ended by SIGKILL; {RESUME}"
        gone = r"train(, rank 1)?: another rank is gone or cannot be reached \(.*\); " + RESUME
        assert all(re.fullmatch(gone, line) for line in of_ranks), of_ranks
        assert all(map(is_gone, pids))
        assert not any((project / name).exists() for name in OUTS)
    done = launch(project, *TRAIN)
    assert (done.returncode, done.stderr) == (0, "")
    assert "resuming after epoch" in done.stdout
    assert contents(project) == expected


@pytest.mark.slow
@needs_proc
def test_a_signal_ends_all_processes_with_the_exit_code_of_a_single_one(project):
    set_epochs(project, 10_000)
    process, pids = start(project)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    set_epochs(project, EPOCHS)
    assert (process.returncode, errors) == (143, "train: ended by SIGTERM\n")
    assert all(map(is_gone, pids))


@pytest.mark.slow
@needs_proc
def test_ranks_whose_launcher_was_killed_hold_the_lock(project):
    set_epochs(project, 10_000)
    process, pids = start(project)
    process.kill()
    done = launch(project, *TRAIN)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    set_epochs(project, EPOCHS)
    assert done.returncode == 2
    assert f"train: another train is running (pid {pids[0]}); wait for it or end it\n" in done.stderr


def test_a_first_machine_that_cannot_be_reached_is_reported_in_one_line(project):
    there = ["--nnodes=2", "--node-rank=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    done = launch(project, "--rdzv-conf=timeout=1", *there, "-m", "stages.train")
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("train: the other ranks cannot be reached (The client socket has timed out")


@pytest.mark.slow
def test_a_rank_that_refuses_its_parameters_ends_all_with_its_line(project):
    set_parameters(project, {"train.epochs": "0"})
    done = launch(project, *TRAIN)
    set_epochs(project, EPOCHS)
    assert done.returncode == 2
    lines = {line.partition("params.yaml: ")[2] for line in done.stderr.splitlines()}
    assert lines == {"train.epochs: input should be greater than or equal to 1, got 0"}, done.stderr


def test_a_single_process_is_started_without_torchrun(project):
    """The stage runs in the launched process itself, and refuses `train.processes: 2`."""
    done = launch(project, "--nproc-per-node", "1", "-m", "stages.train")
    assert done.returncode == 2
    assert done.stderr.startswith("train: params.yaml: train.processes: expected 1")


def test_help_describes_the_options_and_starts_nothing(project):
    done = launch(project, "--help")
    assert done.returncode == 0
    assert "--nproc-per-node" in done.stdout and "torchrun" in done.stdout


def test_an_option_of_torchrun_for_a_single_process_is_refused(project):
    done = launch(project, "-m", "stages.train", "--master-port=1")
    line = "train: options of torchrun, without several processes: --master-port=1\n"
    assert (done.returncode, done.stderr) == (2, line)
