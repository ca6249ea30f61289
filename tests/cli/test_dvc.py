"""The one helper that calls DVC."""

import sys
from pathlib import Path

import pytest

from armdigits.cli import dvc
from armdigits.core.errors import Failure

STAGE = """
stages:
  name:
    cmd: python -c 'import sys; open("name", "w").write(sys.executable)'
    outs: [name]
"""


@pytest.fixture
def repository(folder: Path) -> Path:
    """An empty repository of DVC, which is the current folder."""
    (folder / ".dvc").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = True\n")
    return folder


def test_ask_returns_what_dvc_prints(repository):
    assert dvc.ask("cache", "dir").strip() == str(repository / ".dvc" / "cache")


def test_ask_fails_with_the_reason_and_without_the_advertisement(repository):
    with pytest.raises(Failure) as failed:
        dvc.ask("metrics", "diff", "--json", "HEAD")
    assert str(failed.value).startswith("dvc metrics diff: ")
    assert "Having any troubles" not in str(failed.value)
    assert len(str(failed.value).splitlines()) == 1


def test_the_reason_of_a_python_without_dvc_is_the_last_line(folder, monkeypatch):
    monkeypatch.setattr(dvc, "_command", lambda arguments: [sys.executable, "-S", "-m", "dvc", *arguments])
    with pytest.raises(Failure, match=r"dvc exp show: .*No module named dvc"):
        dvc.ask("exp", "show", "--json")


def test_run_returns_the_exit_code(repository, capfd):
    assert dvc.run("status") == 0
    assert dvc.run("repro") == 255
    assert "dvc.yaml' does not exist" in capfd.readouterr().err


def test_run_or_fail_names_the_command_and_its_exit_code(repository, capfd):
    with pytest.raises(Failure, match=r"^dvc repro: failed with exit code 255$"):
        dvc.run_or_fail("repro", "--quiet")


def test_stages_start_with_this_python_although_it_is_not_on_path(repository, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (repository / "dvc.yaml").write_text(STAGE)
    assert dvc.run("repro", "--quiet") == 0
    assert Path((repository / "name").read_text()) == Path(sys.executable)
