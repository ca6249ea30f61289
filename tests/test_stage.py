"""What every stage does around its work, most of it on real processes."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import copy_project, results, run_stage, run_stage_here, set_parameters
from tests.test_pipeline import STAGES

SLEEPER = """
import time
from armdigits import stage
stage.run("train", lambda parameters: (print("working", flush=True), time.sleep(60)))
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without data, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    return copy_project(tmp_path)


def start(project: Path) -> subprocess.Popen:
    """Start a stage named train that sleeps, and wait until it works."""
    command = [sys.executable, "-c", SLEEPER]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "working\n"
    return process


def test_a_second_copy_fails_at_once_and_the_lock_goes_with_its_holder(project):
    first = start(project)
    second = run_stage(project, "train")
    first.kill()
    first.communicate()
    assert second.returncode == 2
    assert second.stderr == f"train: another train is running (pid {first.pid}); wait for it or end it\n"
    third = start(project)
    third.kill()
    third.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_stage_with_the_usual_exit_code(project, number):
    process = start(project)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert errors == f"train: ended by {number.name}\n"


@pytest.mark.parametrize("name", STAGES)
def test_bad_parameters_end_every_stage_before_it_works(project, capsys, name):
    set_parameters(project, {"train.epochs": "0"})
    before = results(project)
    assert run_stage_here(name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{name}: params.yaml: train.epochs: expected a whole number of at least 1")
    assert results(project) == before


@pytest.mark.parametrize(
    ("name", "missing", "before"),
    [
        ("teach", "data/train.safetensors", "download"),
        ("train", "data/train.safetensors", "download"),
        ("evaluate", "data/test.safetensors", "download"),
        ("quantize", "models/model.safetensors", "train"),
        ("benchmark", "models/model.safetensors", "train"),
    ],
)
def test_a_missing_input_names_the_stage_that_makes_it(project, name, missing, before):
    done = run_stage(project, name)
    assert done.returncode == 2
    assert done.stderr == f"{name}: {missing}: there is no such file; run: dvc repro {before}\n"


def test_no_mirror_is_told_and_noted_for_make_repro(project):
    set_parameters(project, {"dataset.name": "mnist"})
    done = run_stage(project, "download", DATA_MIRROR="no-such-folder", HTTPS_PROXY="http://127.0.0.1:1")
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert lines[0] == "download: no-such-folder: No such file or directory"
    assert "Ways out: DATA_MIRROR=" in lines[-1]
    assert all(line.startswith("download: ") for line in lines)
    assert (project / ".state/no-mirror").exists()
    assert not list((project / "data").glob("*.safetensors"))
