"""The start of a process that runs a stage: what is set before the stage and torch are imported."""

import gc
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from armdigits.core import cpu, paths, times  # noqa: F401 - the time that a stage takes counts from this import
from armdigits.core.errors import BadInput


def prepare(module: str) -> None:
    """Prepare this process for a stage, named as a module: stages.train."""
    # Importing a stage takes seconds. Until its own handlers are installed, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.excepthook = _explain
    from armdigits.core.parameters import load_parameters  # imports pydantic, which takes a while

    # Read when torch is imported. Its C++ code logs errors that are also raised as exceptions and reported in one line.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
    if module != "stages.benchmark":  # which times all that this CPU can do
        with suppress(BadInput):  # the stage itself says what is wrong
            cpu.hold_to(load_parameters(paths.PARAMETERS).compute.instructions)
    # Imports and exporters make millions of objects that stay. By default Python looks for garbage among them after
    # every few hundred new ones, which took a fifth of the time of quantize.
    gc.set_threshold(50_000)


def _explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print a traceback, or one line in an experiment's copy of the project, which lacks a module that Git lacks."""
    name = error.name if isinstance(error, ModuleNotFoundError) and error.name else ""
    if name.partition(".")[0] in ("armdigits", "stages") and ".dvc/tmp/exps/" in Path.cwd().as_posix():
        file = f"{name.replace('.', '/')}.py"
        line = f"{file}: not in the folder of this experiment, which has the files that Git tracks; run: git add {file}"
        print(line, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
