"""Git is called for the folder's repository, and the tests leave the user's alone; with real hooks."""

import sys
from pathlib import Path

import pytest

from armdigits.core import git
from tests.helpers import ROOT, run

IDENTITY = ("-c", "user.name=x", "-c", "user.email=x")
HOOK = """#!/bin/sh
cd '{root}' && exec '{python}' -m pytest -q tests/cli/test_dvc.py -k name_and_an_address
"""
SETTINGS = "[commit]\n  gpgSign = true\n[core]\n  excludesFile = {everything}\n[user]\n  name = tester\n  email = x\n"


@pytest.fixture
def worktree(tmp_path: Path) -> Path:
    """A linked worktree of a repository with one commit, which can be pushed to `tmp_path/remote`."""
    user, linked = tmp_path / "user", tmp_path / "linked"
    for command in (
        ("init", "-q", "--bare", str(tmp_path / "remote")),
        ("init", "-q", "-b", "main", str(user)),
        ("-C", str(user), *IDENTITY, "commit", "-q", "--allow-empty", "-m", "one"),
        ("-C", str(user), "worktree", "add", "-q", "-b", "side", str(linked)),
    ):
        done = run(tmp_path, "git", *command)
        assert done.returncode == 0, done.stderr
    return linked


def state(worktree: Path) -> list[object]:
    """Status, refs and configuration of the user's repository."""
    told = [run(worktree, "git", *command).stdout for command in (("status", "-s"), ("show-ref",), ("config", "-l"))]
    return [*told, (worktree.with_name("user") / ".git/config").read_bytes()]


@pytest.mark.parametrize("named", ["absolute", ".git"])
def test_the_folder_decides_which_repository_not_the_hook(worktree, folder, monkeypatch, named):
    assert run(folder, "git", "init", "-q", "own").returncode == 0
    (folder / "own" / "inside").mkdir()
    monkeypatch.chdir(folder / "own" / "inside")
    monkeypatch.setenv("GIT_DIR", str(worktree / ".git") if named == "absolute" else named)
    monkeypatch.setenv("GIT_INDEX_FILE", str(worktree / "index"))
    assert git.run("rev-parse", "--show-toplevel").stdout.decode().strip() == str(folder / "own")
    assert not git.environment().keys() & {"GIT_DIR", "GIT_INDEX_FILE"}


@pytest.mark.slow
def test_tests_that_a_hook_of_a_worktree_starts_leave_the_users_repository_alone(worktree, tmp_path):
    """With settings of the user that would break them."""
    hook = worktree.with_name("user") / ".git/hooks/pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(HOOK.format(root=ROOT, python=sys.executable), "utf-8")
    hook.chmod(0o755)
    (tmp_path / "everything").write_text("*\n", "utf-8")
    (tmp_path / "settings").write_text(SETTINGS.format(everything=tmp_path / "everything"), "utf-8")
    before = state(worktree)
    push = ("git", "push", "-q", str(tmp_path / "remote"), "side")
    done = run(worktree, *push, GIT_CONFIG_GLOBAL=str(tmp_path / "settings"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout + done.stderr
    assert state(worktree) == before
