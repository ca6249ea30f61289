"""What all stages share; signals and locks are tested with real processes."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from armdigits.core import stage
from armdigits.core.errors import BadInput
from tests.helpers import ROOT, copy_project, results, run, run_stage_here, set_parameters

STAGES = sorted(path.stem for path in (ROOT / "stages").glob("[!_]*.py"))
SLEEPER = """
import time
from armdigits.core import stage
stage.run("train", lambda parameters: (print("working", flush=True), time.sleep(60)))
"""

PRINTER = """
import atexit
from armdigits.core import stage
atexit.register(print, "unloading")
stage.run("train", lambda parameters: print("x" * 100_000))
"""
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without data, which is the current folder."""
    monkeypatch.chdir(tmp_path)
    return copy_project(tmp_path)


def start(project: Path) -> subprocess.Popen[str]:
    """Start a stage named train that sleeps, and wait until it works."""
    command = [sys.executable, "-c", SLEEPER]
    process = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "working\n"
    return process


def test_a_second_copy_fails_at_once_and_a_killed_one_releases_its_lock(project: Path) -> None:
    first = start(project)
    second = run(project, sys.executable, "-c", SLEEPER)
    first.kill()
    first.communicate()
    assert second.returncode == 2
    assert second.stderr == f"train: another train is running (pid {first.pid}); wait for it or end it\n"
    third = start(project)
    third.kill()
    third.communicate()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_gets_one_line_with_the_remedy(
    project: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(BadInput) as caught, stage.only_one("train"):
        pytest.fail("the stage runs without a lock")
    reason = os.strerror(number)
    line = f".state/locks: this file system has no locks ({reason}); clone the project to a local disk"
    assert str(caught.value) == line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_stage_in_one_line_with_128_plus_its_number(project: Path, number: signal.Signals) -> None:
    process = start(project)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert errors == f"train: ended by {number.name}\n"


def test_a_stage_that_is_done_ends_at_once_with_all_of_its_output(project: Path) -> None:
    done = run(project, sys.executable, "-c", PRINTER)
    assert (done.returncode, done.stdout, done.stderr) == (0, "x" * 100_000 + "\n", "")


@pytest.mark.parametrize(
    ("target", "code", "errors"),
    [
        pytest.param("/dev/full", 1, "train: No space left on device\n", marks=needs_dev_full),
        ("&-", 0, ""),
    ],
)
def test_a_stage_whose_output_cannot_be_written_says_so_unless_there_is_none(
    project: Path, target: str, code: int, errors: str
) -> None:
    done = run(project, "sh", "-c", f'"$0" -c "$1" >{target}', sys.executable, PRINTER)
    assert (done.returncode, done.stderr) == (code, errors)


@pytest.mark.parametrize("name", STAGES)
def test_invalid_parameters_end_every_stage_before_it_writes_anything(
    project: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    set_parameters(project, {"train.epochs": "0"})
    before = results(project)
    assert run_stage_here(name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == f"{name}: params.yaml: train.epochs: input should be greater than or equal to 1, got 0"
    assert results(project) == before


@pytest.mark.parametrize("name", STAGES)
def test_help_prints_the_docstring_of_the_stage_and_runs_nothing(
    project: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    module = import_module(f"stages.{name}")
    before = results(project)
    with pytest.raises(SystemExit) as ended:
        stage.run(name, module.main, ["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: python -m stages.{name} ")
    assert module.__doc__
    assert module.__doc__.strip() in printed
    assert results(project) == before


def test_help_works_from_the_command_line(project: Path) -> None:
    done = run(project, sys.executable, "-m", "stages.preflight", "--help")
    assert done.returncode == 0
    assert "\nCheck params.yaml" in done.stdout


def test_an_unknown_argument_is_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = results(project)
    with pytest.raises(SystemExit) as ended:
        stage.run("preflight", import_module("stages.preflight").main, ["--epochs=3"])
    assert ended.value.code == 2
    error = "python -m stages.preflight: error: unrecognized arguments: --epochs=3\n"
    assert capsys.readouterr().err.endswith(error)
    assert results(project) == before


def test_a_rank_above_0_prints_its_number_and_takes_no_lock(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable, value in {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RUN_ID": "none"}.items():
        monkeypatch.setenv(variable, value)
    with stage.only_one("preflight"):
        assert run_stage_here("preflight") == 0
    set_parameters(project, {"train.epochs": "0"})
    assert run_stage_here("preflight") == 2
    assert capsys.readouterr().err.startswith("preflight, rank 1: params.yaml: train.epochs: ")


@pytest.mark.parametrize(
    ("name", "missing", "before"),
    [
        ("teach", "data/provenance.json", "download"),
        ("train", "data/provenance.json", "download"),
        ("evaluate", "data/provenance.json", "download"),
        ("quantize", "models/model.safetensors", "train"),
        ("benchmark", "models/model.safetensors", "train"),
    ],
)
def test_a_missing_input_names_the_stage_that_writes_it(
    project: Path, capsys: pytest.CaptureFixture[str], name: str, missing: str, before: str
) -> None:
    assert run_stage_here(name) == 2
    last = capsys.readouterr().err.splitlines()[-1]  # ExecuTorch logs to stderr, but not where a stage is the program
    assert last == f"{name}: {missing}: no such file; run: dvc repro {before}"


def test_a_download_without_any_mirror_prints_what_to_do_and_creates_a_file_for_make_repro(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_parameters(project, {"dataset.name": "mnist"})
    monkeypatch.setenv("DATA_MIRROR", "")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert run_stage_here("download") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith(": Connection refused")
    assert "Set DATA_MIRROR to a folder or base URL" in lines[-1]
    assert all(line.startswith("download: ") for line in lines)
    assert (project / ".state/no-mirror").exists()
    assert not list((project / "data").glob("*.safetensors"))


def test_a_wrong_data_mirror_stops_the_download_and_leaves_no_note_for_make_repro(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_parameters(project, {"dataset.name": "mnist"})
    monkeypatch.setenv("DATA_MIRROR", "no-such-folder")
    assert run_stage_here("download") == 2
    assert capsys.readouterr().err == "download: DATA_MIRROR: no-such-folder: no such folder\n"
    assert not (project / ".state/no-mirror").exists()


@pytest.mark.slow
def test_an_experiment_without_a_module_that_git_does_not_have_says_git_add(project: Path) -> None:
    for command in ("git init -q", "git config user.name x", "git config user.email x", "dvc init -q", "git add ."):
        assert run(project, *command.split()).returncode == 0
    assert run(project, "git", "commit", "-q", "-m", "start").returncode == 0
    Path("armdigits/models/mine.py").touch()
    networks = Path("armdigits/models/networks.py")
    networks.write_text(f"{networks.read_text('utf-8')}\nimport armdigits.models.mine\n", "utf-8")
    done = run(project, "dvc", "exp", "run", "--temp", "preflight")
    assert done.returncode != 0
    what = "armdigits/models/mine.py: not in the folder of this experiment, which has the files that Git tracks"
    assert f"{what}; run: git add armdigits/models/mine.py" in done.stderr.splitlines()
    assert "Traceback" not in done.stderr
