"""After a failure no file that Git tracks is missing; with real git and real dvc, which removes outputs first."""

import shutil
import sys
from pathlib import Path

import pytest

from armdigits.core import tracked
from armdigits.training import launch
from tests.helpers import copy_project, run

PIPELINE = """
stages:
  train:
    cmd: python -m stages.fails {how}
    always_changed: true
    metrics: [metrics/train.json: {{cache: false}}]
    plots: [metrics/history.csv: {{cache: false}}]
"""
STAGE = """
import os, signal, sys
from pathlib import Path
from armdigits.core import stage
from armdigits.core.errors import BadInput, GateFailed

def main(parameters):
    assert not Path("metrics/train.json").exists(), "DVC removes it before the stage starts"
    if how == "bad input":
        raise BadInput("bad")
    if how == "signal":
        os.kill(os.getpid(), signal.SIGTERM)
    if how == "gate":
        Path("metrics/train.json").write_text("new")
        raise GateFailed("worse")
    os.kill(os.getpid(), signal.SIGKILL)

how = " ".join(sys.argv[1:])
stage.run("train", main, [])
"""
BOTH = "metrics/history.csv metrics/train.json"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose folder `project` is a project with metrics in Git."""
    repository = tmp_path_factory.mktemp("it's a höuse")
    project = copy_project(repository / "project")
    (project / "stages/fails.py").write_text(STAGE, "utf-8")
    for name in BOTH.split():
        (project / name).write_text("old", "utf-8")
    for command in ("git init -q ..", "dvc init -q --subdir", "git add ."):
        done = run(project, *command.split())
        assert done.returncode == 0, done.stderr
    return repository


@pytest.fixture
def project(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that project for one test, which is the current folder."""
    project = shutil.copytree(repository, tmp_path / repository.name) / "project"
    monkeypatch.chdir(project)
    return project


@pytest.mark.parametrize(
    ("how", "line", "content"),
    [("bad input", "train: bad", "old"), ("signal", "train: ended by SIGTERM", "old"), ("gate", "train: worse", "new")],
)
def test_a_stage_that_fails_under_dvc_restores_what_dvc_removed_and_keeps_what_it_wrote(project, how, line, content):
    (project / "dvc.yaml").write_text(PIPELINE.format(how=how), "utf-8")
    done = run(project, "dvc", "repro")
    assert done.returncode != 0
    assert line in done.stderr.splitlines()
    names = "history.csv" if how == "gate" else "history.csv, train.json"
    assert f"train: restored from Git in metrics/: {names}" in done.stderr.splitlines()
    assert [(project / name).read_text("utf-8") for name in BOTH.split()] == ["old", content]


def test_after_a_kill_the_command_that_called_dvc_restores_them(project):
    (project / "dvc.yaml").write_text(PIPELINE.format(how="kill"), "utf-8")
    done = run(project, sys.executable, "-c", "from armdigits.cli import dvc; dvc.run('repro')")
    assert "dvc repro: restored from Git in metrics/: history.csv, train.json" in done.stderr.splitlines()
    assert [(project / name).read_text("utf-8") for name in BOTH.split()] == ["old", "old"]


def test_of_several_ranks_the_process_that_started_them_restores_them(project, monkeypatch, capsys):
    shutil.rmtree("metrics")
    monkeypatch.setattr(sys, "argv", ["launch", "--nproc-per-node", "2", "-m", "stages.train"])
    monkeypatch.setattr(launch, "_torchrun", lambda *_: 2)
    with pytest.raises(SystemExit):
        launch.main()
    line = "train: restored from Git in metrics/: .gitignore, history.csv, train.json\n"
    assert capsys.readouterr().err == line


def test_what_git_no_longer_tracks_stays_removed(project, capsys):
    assert run(project, "git", "rm", "-q", "--force", *BOTH.split()).returncode == 0
    tracked.restore("train")
    assert capsys.readouterr().err == ""
    assert not Path("metrics/train.json").exists()


@pytest.mark.parametrize("reason", ["no .git", "no git"])
def test_without_git_nothing_happens(project, capsys, monkeypatch, reason):
    for name in BOTH.split():
        Path(name).unlink()
    if reason == "no git":
        monkeypatch.setenv("PATH", "/nowhere")
    else:
        shutil.rmtree(project.parent / ".git")
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent.parent))
    with pytest.raises(KeyError), tracked.restored_on_failure("train"):
        raise KeyError
    assert capsys.readouterr().err == ""


def test_help_and_success_restore_nothing(project, capsys):
    Path("metrics/train.json").unlink()
    with pytest.raises(SystemExit), tracked.restored_on_failure("train"):
        sys.exit(0)
    with tracked.restored_on_failure("train"):
        pass
    assert capsys.readouterr().err == ""
    assert not Path("metrics/train.json").exists()
