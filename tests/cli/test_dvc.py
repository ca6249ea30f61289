"""The one helper that calls DVC."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from armdigits.cli import dvc
from armdigits.core.errors import BadInput, Failure

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
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = True\n", "utf-8")
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


@pytest.mark.slow
@pytest.mark.parametrize("path", [".dvc/tmp", ".dvc/tmp/rwlock", ".dvc/tmp/lock"])
def test_what_a_power_cut_damaged_of_dvcs_own_files_is_named_with_the_command_that_helps(repository, path):
    (repository / "dvc.yaml").write_text("stages: {name: {cmd: echo > name, outs: [name]}}\n", "utf-8")
    file = repository / path
    file.parent.mkdir(exist_ok=True)
    if path.endswith("/lock"):
        file.mkdir()
    else:
        file.touch()
    with pytest.raises(BadInput) as failed:
        dvc.run("repro")
    assert str(failed.value) == f"{path}: damaged, and DVC cannot work with it; run: rm -rf {path}"
    subprocess.run(["rm", "-rf", path], check=True)
    assert dvc.run("repro") == 0


@pytest.mark.slow
def test_a_damaged_site_cache_is_named_with_the_command_that_helps(repository, monkeypatch):
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(repository / "site"))
    (repository / "dvc.yaml").write_text("stages: {name: {cmd: echo > name, outs: [name]}}\n", "utf-8")
    assert dvc.run("repro") == 0
    for database in repository.glob("site/**/cache.db"):
        database.write_bytes(b"damaged" * 1000)
    with pytest.raises(BadInput, match=r"^DVC's list of hashes .*database.*; run: rm -f .dvc/tmp/btime$"):
        dvc.run("repro")
    (repository / ".dvc/tmp/btime").unlink()
    assert dvc.run("repro") == 0


def test_a_damaged_lock_file_is_named_with_the_command_that_helps(repository):
    (repository / "dvc.yaml").write_text("stages: {name: {cmd: echo > name, outs: [name]}}\n", "utf-8")
    (repository / "dvc.lock").touch()
    with pytest.raises(BadInput, match=r"^dvc.lock: not a lock file of DVC; run: rm dvc.lock && dvc repro$"):
        dvc.run("repro")


@pytest.fixture
def git(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Git repository, which is the current folder, for a user whom Git does not know."""
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(folder.parent))
    subprocess.run(["git", "init", "--quiet"], check=True)
    return folder


def refused(**options: bool) -> str:
    with pytest.raises(BadInput) as caught:
        dvc.require_git(**options)
    return str(caught.value)


def test_without_a_git_repository_the_line_says_how_to_make_one(git):
    dvc.require_git()
    shutil.rmtree(".git")
    remedy = "run: git init && git add --all && git commit -m start"
    assert refused() == f"this folder is no Git repository, and DVC needs one; {remedy}"


def test_a_folder_of_another_user_gets_the_command_that_makes_git_trust_it(git, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert refused().endswith(f"; run: git config --global --add safe.directory {shlex.quote(str(git))}")


def test_only_what_commits_needs_a_name_and_an_address(git):
    dvc.require_git()
    assert refused(commits=True).startswith("Git does not know who you are, and DVC commits each experiment; run: git ")
    for key in ("name", "email"):
        subprocess.run(["git", "config", f"user.{key}", "someone"], check=True)
    dvc.require_git(commits=True)


def test_a_machine_without_git_gets_one_line(git, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert refused() == "git: no such program; install it, DVC needs it"


def test_dvc_and_its_stages_do_not_see_the_repository_that_a_hook_names(repository, monkeypatch):
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    (repository / "dvc.yaml").write_text("stages: {name: {cmd: env > name, outs: [name]}}\n", "utf-8")
    assert dvc.run("repro", "--quiet") == 0
    assert "GIT_DIR" not in (repository / "name").read_text("utf-8")


@pytest.mark.slow
def test_dvc_runs_for_a_user_without_a_home_and_with_pythonsafepath(repository, monkeypatch):
    for name in ("HOME", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    (repository / "mine.py").write_text("import os\nprint(os.environ['HOME'], os.environ['LOGNAME'])\n", "utf-8")
    (repository / "dvc.yaml").write_text("stages: {name: {cmd: python -m mine > name, outs: [name]}}\n", "utf-8")
    assert dvc.run("repro", "--quiet") == 0
    assert (repository / "name").read_text("utf-8") == f"{repository}/.state/home user\n"


@pytest.mark.slow
def test_stages_start_with_this_python_although_it_is_not_on_path(repository, monkeypatch):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (repository / "dvc.yaml").write_text(STAGE, "utf-8")
    assert dvc.run("repro", "--quiet") == 0
    assert Path((repository / "name").read_text("utf-8")) == Path(sys.executable)
