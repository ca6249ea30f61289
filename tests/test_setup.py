"""The set-up, .ci/setup, with a Python that only records what it is asked to do; and the check of the pins."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, run

sys.path.insert(0, str(ROOT / ".ci"))
import check_pins

# Stands in for the user's Python, and for that of the environment which it makes. `calls` beside it has what was asked.
PYTHON = """#!/bin/sh
echo "$PIP_USER $PIP_REQUIRE_HASHES ${{PYTHONPATH:-}} $*" >> {calls}
echo "${{PIP_EXTRA_INDEX_URL:-}} ${{PIP_FIND_LINKS:-}} $*" >> {calls}-indexes
case "$*" in
  *_base_executable*) echo "$0" ;;
  *python_version*) echo 3.11.7 ;;
  *'-m venv'*) for last; do :; done
    mkdir -p "$last/bin"; cp "$0" "$last/bin/python"; echo "#!$PWD/$last/bin/python" > "$last/bin/dvc" ;;
  {failing}) exit 1 ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the set-up, in a place with a space, an umlaut and an apostrophe."""
    project = tmp_path / "it's ü x"
    (project / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci" / "setup", project / ".ci" / "setup")
    subprocess.run(["git", "init", "--quiet", str(project)], check=True)
    return project


def fake(project: Path, failing: str = "nothing") -> Path:
    """A Python whose command fails when it matches the pattern `failing` of the shell."""
    python = project.parent / "python"
    python.write_text(PYTHON.format(calls=shlex.quote(str(project.parent / "calls")), failing=failing), "utf-8")
    python.chmod(0o755)
    return python


def setup(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the set-up from another folder."""
    command = ["sh", str(project / ".ci" / "setup"), *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd="/", env=variables, capture_output=True, text=True, check=False)


def calls(project: Path) -> list[str]:
    return (project.parent / "calls").read_text("utf-8").splitlines()


def test_it_ends_with_one_line_ready_where_and_how_long(project):
    done = setup(project, str(fake(project)))
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first == "setup: making .venv: about 0.5 GB of downloads, 2 GB of disk, a few minutes"
    assert last.startswith(f"setup: ready: {project}/.venv, Python 3.11.7, ")
    assert last.endswith(" s")
    assert (project / ".venv/.ready").exists()
    assert setup(project, "check").stdout == ""


def test_settings_of_pip_and_python_for_other_projects_do_not_count(project):
    setup(project, str(fake(project)), PIP_USER="1", PIP_REQUIRE_HASHES="1", PYTHONPATH="/elsewhere")
    asked = calls(project)
    assert asked
    assert all(line.startswith("0 0  -") for line in asked)


def test_every_install_is_pinned_and_so_is_every_build(project):
    setup(project, str(fake(project)))
    installs = [line for line in calls(project) if " pip install " in line]
    assert len(installs) == 3
    assert installs[0].endswith(" --constraint constraints.txt pip setuptools")
    assert all("--constraint constraints.txt --build-constraint constraints.txt" in line for line in installs[1:])
    assert {"pip", "setuptools"} <= set(check_pins.pins(check_pins.PINS))


def test_an_index_that_cannot_be_reached_is_left_out_with_one_line(project):
    done = setup(project, str(fake(project, "*'pip index'*")))
    (line,) = [line for line in done.stdout.splitlines() if "CPU index" in line]
    assert line == "setup: PyTorch's CPU index cannot be reached; on Linux, torch may bring 4 GB of CUDA packages"
    assert done.stderr == ""
    assert not [line for line in calls(project) if "extra-index-url" in line]


def test_the_index_is_asked_alone_whatever_the_users_configuration_names(project):
    """pip ignores an empty variable, and then takes the value of its configuration files."""
    setup(project, str(fake(project)), PIP_EXTRA_INDEX_URL="https://other.invalid", PIP_FIND_LINKS="/elsewhere")
    lines = (project.parent / "calls-indexes").read_text("utf-8").splitlines()
    (line,) = [line for line in lines if " pip index " in line]
    assert line.startswith("https://download.pytorch.org/whl/cpu .venv/none -I -m pip index versions torch ")


def test_an_install_that_fails_says_how_to_go_on(project):
    done = setup(project, str(fake(project, "*'.[dev]'*")))
    assert done.returncode == 2
    line = "setup: pip could not install the packages, for the reason above; to go on from there: make setup\n"
    assert done.stderr == line
    assert not (project / ".venv/.ready").exists()


@pytest.mark.parametrize(
    ("failing", "line"),
    [
        ("*version_info*", "is older than Python 3.11; name a newer one: make PYTHON=python3.12 setup"),
        ("*ensurepip*", "has no venv with pip; on Debian and Ubuntu: apt install python3-venv"),
    ],
)
def test_a_python_that_does_not_fit_gets_one_line(project, failing, line):
    python = fake(project, failing)
    done = setup(project, str(python))
    assert (done.returncode, done.stderr) == (2, f"setup: {python} {line}\n")
    assert not (project / ".venv").exists()


def test_a_downloaded_archive_is_told_to_become_a_git_repository_before_anything_is_made(project):
    shutil.rmtree(project / ".git")
    done = setup(project, str(fake(project)), GIT_CEILING_DIRECTORIES=str(project.parent))
    line = "is no Git repository, and DVC needs one: git init && git add --all && git commit -m start"
    assert (done.returncode, done.stderr) == (2, f"setup: {project} {line}\n")
    assert not (project / ".venv").exists()


def test_a_folder_of_another_user_gets_one_line_with_what_to_do(project):
    done = setup(project, str(fake(project)), GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    assert done.returncode == 2
    assert done.stderr.startswith("setup: Git refuses this folder, which another user owns: git config --global --add ")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("missing", ["git", "python3"])
def test_a_program_that_is_missing_gets_one_line(project, missing):
    programs = project.parent / "bin"
    programs.mkdir()
    for name in {"git", "sh", "dirname", "date", "grep"}:
        (programs / name).symlink_to(shutil.which(name))
    (programs / missing).unlink(missing_ok=True)
    done = setup(project, PATH=str(programs))
    assert done.returncode == 2
    assert done.stderr.startswith(f"setup: {missing}: not found; install ")
    assert len(done.stderr.splitlines()) == 1


def test_an_environment_that_was_moved_is_noticed_and_made_anew(project):
    python = fake(project)
    setup(project, str(python))
    moved = project.rename(project.with_name("moved"))
    assert setup(moved, "check").stdout == "stale\n"
    done = setup(moved, str(python))
    assert done.stdout.startswith("setup: .venv was moved or its Python is gone; making it anew\n")
    assert calls(project)[-1].endswith(".python_version())")
    assert any(line.endswith("-m venv --clear .venv") for line in calls(project))
    assert setup(moved, "check").stdout == ""


@pytest.mark.parametrize("target", ["environment", "nowhere"])
def test_an_environment_that_is_a_link_is_refused_and_its_target_stays(project, target):
    kept = project.parent / "environment/kept"
    kept.parent.mkdir()
    kept.touch()
    (project / ".venv").symlink_to(project.parent / target)
    assert setup(project, "check").stdout == "stale\n"
    done = setup(project, str(fake(project)))
    assert done.returncode == 2
    line = f".venv is a link to {project.parent / target}, which the set-up would change; remove the link: rm .venv"
    assert done.stderr == f"setup: {line}\n"
    assert kept.exists() and not (project.parent / "nowhere").exists()


def test_cdpath_does_not_send_the_set_up_into_another_folder(project):
    other = project.parent / "other"
    (other / ".ci").mkdir(parents=True)
    command = ["sh", ".ci/setup", str(fake(project))]
    done = run(project, *command, CDPATH=str(other))
    assert done.returncode == 0, done.stderr
    assert (project / ".venv/.ready").exists()
    assert list(other.iterdir()) == [other / ".ci"]


def test_an_environment_whose_python_is_gone_is_noticed_and_made_anew(project):
    python = fake(project)
    setup(project, str(python))
    (project / ".venv/bin/python").unlink()
    (project / ".venv/bin/python").symlink_to("/nowhere/python3")
    assert setup(project, "check").stdout == "stale\n"
    (project / ".venv/bin/python").unlink()
    assert "making it anew" in setup(project, str(python)).stdout


def test_make_asks_for_a_new_environment_only_when_the_old_one_does_not_work(project):
    shutil.copy(ROOT / "Makefile", project)
    for name in ("pyproject.toml", "constraints.txt"):
        (project / name).touch()
    setup(project, str(fake(project)))
    make = ["make", "--dry-run", "setup"]
    assert ".ci/setup" not in subprocess.run(make, cwd=project, capture_output=True, text=True, check=True).stdout
    moved = project.rename(project.with_name("moved"))
    assert ".ci/setup" in subprocess.run(make, cwd=moved, capture_output=True, text=True, check=True).stdout


class Pip:
    """Stands in for pip: has no wheel of some packages, and stops at the first one."""

    def __init__(self, missing: list[str]) -> None:
        self.missing = missing

    def run(self, command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        for name in self.missing:
            if f"{name}==1" in command:
                line = f"ERROR: No matching distribution found for {name}==1\n"
                return subprocess.CompletedProcess(command, 1, "", line)
        return subprocess.CompletedProcess(command, 0, "", "")


@pytest.mark.parametrize("missing", [[], ["one"], ["two", "one"], ["one", "two", "three"]])
def test_every_pin_without_a_wheel_is_found(monkeypatch, missing):
    monkeypatch.setattr(check_pins, "subprocess", Pip(missing))
    wanted = {"one": "1", "two": "1", "three": "1"}
    assert check_pins.without_wheel(wanted, "3.14", ["manylinux_2_28_aarch64"]) == missing


@pytest.mark.parametrize(("missing", "code"), [(["torch"], True), (["coremltools"], False)])
def test_a_pin_without_a_wheel_fails_the_check_unless_it_is_known_to_do_without(monkeypatch, capsys, missing, code):
    monkeypatch.setattr(check_pins, "pins", lambda _: {"torch": "1", "coremltools": "1", "nvidia-nvtx": "1"})
    monkeypatch.setattr(check_pins, "subprocess", Pip(missing))
    with pytest.raises(SystemExit) as ended:
        check_pins.main()
    assert ended.value.code is code
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    end = " FAILED" if code else ""
    assert lines[0] == f"Linux x86-64, Python 3.11: 2 wheels; no wheel: {missing[0]}{end}"
    assert lines[-1] == f"macOS arm64, Python 3.14: 1 wheels; no wheel: {missing[0]}{end}", "there is no CUDA on macOS"


def test_in_a_read_only_checkout_pytest_ends_without_a_traceback(tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / ".pytest_cache").touch()  # no folder can be made here, whoever tries
    (tmp_path / "test_one.py").write_text("def test_one():\n    pass\n", "utf-8")
    done = run(tmp_path, sys.executable, "-m", "pytest", "-n", "0", "test_one.py")
    assert done.returncode == 0
    assert "1 passed" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_make_hides_settings_of_python_and_git_that_are_meant_for_other_projects(project):
    makefile = (ROOT / "Makefile").read_text("utf-8") + "\nshow:\n\t@env\n"
    (project / "Makefile").write_text(makefile, "utf-8")
    environment = {**os.environ, "PYTHONPATH": "/elsewhere", "PYTHONSAFEPATH": "1", "PYTHONHOME": "/elsewhere"}
    environment |= {"GIT_DIR": ".git", "GIT_INDEX_FILE": "/elsewhere"}
    environment.pop("HOME", None)
    shown = subprocess.run(["make", "show"], cwd=project, env=environment, capture_output=True, text=True, check=True)
    hidden = ("PYTHONPATH", "PYTHONSAFE", "PYTHONHOME", "GIT_DIR", "GIT_INDEX")
    assert not [line for line in shown.stdout.splitlines() if line.startswith(hidden)]
    assert f"HOME={project}/.state/home" in shown.stdout.splitlines()
