"""Call the DVC of this interpreter's environment, whether or not that is activated."""

import json
import os
import shlex
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from armdigits.core import git, tracked
from armdigits.core.errors import BadInput, Failure
from armdigits.core.lock import read_lock


def run(*arguments: str) -> int:
    """Run a DVC command with its output on the screen; returns its exit code.

    After a failure, what Git tracks is complete again, also when a stage was killed and could not see to it.

    Raises:
        BadInput: as `check_state`, where the command failed.
    """
    with subprocess.Popen(_command(arguments), env=_environment()) as process:
        while process.returncode is None:
            with suppress(KeyboardInterrupt):  # DVC receives it too and stops its stage, which would else keep running
                process.wait()
    if process.returncode:
        tracked.restore(_name(arguments))
        check_state()
    return process.returncode


def ask(*arguments: str) -> str:
    """The standard output of a DVC command.

    Raises:
        BadInput: as `check_state`, where the command failed.
        Failure: it failed for another reason, which is DVC's own.
    """
    done = _captured(*arguments)
    if done.returncode:
        check_state()
        raise Failure(f"{_name(arguments)}: {_reason(done.stderr)}")
    return done.stdout


def run_or_fail(*arguments: str) -> None:
    """Run a DVC command as `run` does.

    Raises:
        Failure: the command failed; its output has the reason.
    """
    if code := run(*arguments):
        raise Failure(f"{_name(arguments)}: failed with exit code {code}")


def require_git(commits: bool = False) -> None:
    """Check what DVC takes for granted, as its own messages name neither the reason nor the remedy.

    Args:
        commits: whether DVC commits something, as it does with each experiment.

    Raises:
        BadInput: this is no Git repository, or Git refuses it, or does not know who commits.
    """
    done = _git("rev-parse", "--git-dir")
    if b"dubious ownership" in done.stderr:
        remedy = f"git config --global --add safe.directory {shlex.quote(str(Path.cwd()))}"
        raise BadInput(f"Git refuses this folder, which another user owns; run: {remedy}")
    if done.returncode:
        remedy = "git init && git add --all && git commit -m start"
        raise BadInput(f"this folder is no Git repository, and DVC needs one; run: {remedy}")
    if commits and not all(_git("config", f"user.{key}").stdout.strip() for key in ("name", "email")):
        remedy = "git config --global user.name NAME && git config --global user.email ADDRESS"
        raise BadInput(f"Git does not know who you are, and DVC commits each experiment; run: {remedy}")


def check_state() -> None:
    """Find what a power cut has damaged of DVC's own files, as DVC's messages do not say what to remove.

    Raises:
        BadInput: a file is damaged; the message has the command that helps.
    """
    read_lock()
    if damaged := _damaged_temporary():
        raise BadInput(f"{damaged}: damaged, and DVC cannot work with it; run: rm -rf {damaged}")
    doctor = _captured("doctor")
    reason = _reason(doctor.stderr)
    if doctor.returncode and ("database" in reason or "/dvc/repo/" in reason):
        raise BadInput(f"DVC's list of hashes in its site cache is damaged ({reason}); run: rm -f .dvc/tmp/btime")


def _damaged_temporary() -> Path | None:
    """What is not as DVC writes it in .dvc/tmp."""
    folder, file = Path(".dvc/tmp"), Path(".dvc/tmp/rwlock")
    if folder.exists() and not folder.is_dir():
        return folder
    try:
        sound = not file.exists() or isinstance(json.loads(file.read_bytes()), dict)
    except (ValueError, OSError):
        sound = False
    other = [path for path in (folder / "lock", folder / "btime") if path.is_dir()]
    return next(iter(other), None) if sound else file


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return git.run(*arguments)
    except FileNotFoundError:
        raise BadInput("git: no such program; install it, DVC needs it") from None


def _captured(*arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**_environment(), "PYTHONIOENCODING": "utf-8"}  # whatever the locale's encoding is
    return subprocess.run(_command(arguments), env=env, capture_output=True, encoding="utf-8", check=False)


def _command(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _environment() -> dict[str, str]:
    """With this interpreter's folder first on PATH: dvc.yaml starts the stages with `python`.

    Stages are modules in the current folder, which PYTHONSAFEPATH hides. A user who is not in /etc/passwd, as in a
    container, may have neither a home nor a name; DVC asks for both, and writes nothing there.
    """
    folders = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    home = {"HOME": str(Path.cwd() / ".state" / "home"), "LOGNAME": "user"}
    environment = {**home, **git.environment(), "PATH": os.pathsep.join(folders)}
    environment.pop("PYTHONSAFEPATH", None)
    return environment


def _name(arguments: tuple[str, ...]) -> str:
    """The command without its options and values, as `dvc exp run`."""
    words = [argument for argument in arguments[:2] if argument.isalpha()]
    return " ".join(["dvc", *words])


def _reason(stderr: str) -> str:
    """DVC's own line that begins with ERROR; the last one of its output is an advertisement for its help pages."""
    lines = stderr.strip().splitlines() or ["unknown error"]
    return next((line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")), lines[-1])
