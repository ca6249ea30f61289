"""Stages in processes that are forked from this one, alone or under strace.

This process has imported torch, so a start takes a fraction of a second instead of several.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from armdigits.core import stage
from tests.campaign.checks import Ended, check

TIMEOUT_S = 300  # ends a stage that hangs
# The system calls that change files; the names differ between architectures, and `?` accepts an unknown one.
CALLS = "write,fsync,ftruncate,flock,unlinkat,?unlink,?rmdir,?mkdir,?mkdirat,?rename,?renameat,?renameat2"


@dataclass(frozen=True)
class Process:
    """A running stage, and the file descriptor of a pipe with its stderr."""

    pid: int
    errors: int

    def wait(self) -> Ended:
        """Wait for its end."""
        _, status = os.waitpid(self.pid, 0)
        with os.fdopen(self.errors, errors="replace") as errors:
            return Ended(os.waitstatus_to_exitcode(status), errors.read())


def start(name: str, project: Path, prepare: Callable[[], object] | None = None) -> Process:
    """Fork a process that calls `prepare` and runs a stage in the folder of a project."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Process(pid, reader)
    code = 1
    try:
        os.close(reader)
        os.dup2(writer, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))  # not pytest's
        os.chdir(project)
        signal.alarm(TIMEOUT_S)
        if prepare:
            prepare()
        stage.run(name, import_module(f"stages.{name}").main, arguments=[])
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    except BaseException:  # a traceback, as Python itself would print it
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def run_traced(name: str, project: Path, *options: str) -> Ended:
    """Run a stage under strace, which is attached before the stage does anything."""
    process = start(name, project, prepare=lambda: os.kill(os.getpid(), signal.SIGSTOP))
    os.waitpid(process.pid, os.WUNTRACED)
    command = ["strace", "-f", "-e", f"trace={CALLS}", "-o", os.devnull, *options, "-p", str(process.pid)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr
        attached = "attached" in tracer.stderr.readline()
        os.kill(process.pid, signal.SIGCONT)
        ended = process.wait()
        tracer.communicate()
    check(attached, "strace cannot attach")
    return ended
