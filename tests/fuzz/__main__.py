"""Feed the readers of foreign bytes with mutated inputs, in processes with limits.

    python -m tests.fuzz                                  (all readers, a minute in all)
    python -m tests.fuzz --seconds 600 --seed 2 pictures idx
    python -m tests.fuzz --repeat .state/fuzz/pictures-IndexError-ink-57

Each input must give an answer, or one line with exit code 1 or 2. A finding is a traceback, another exit code, another
line on the terminal, a control character there, more than 1 GB of memory (2 GB for pictures), more than 10 s of the
processor, a crash, a program that is started, a file that is changed elsewhere, a pickle that is loaded.

Inputs are valid files, made here, and mutations of them. With atheris (pip install -e '.[fuzz]') those that reach new
code are mutated on; without it, each input follows from the seed. Each finding is kept in .state/fuzz: the input and,
in a .txt file beside it, the traceback and the command that repeats it. Prints a line for each reader; exit code 1
after any finding. Linux only.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from contextlib import chdir
from pathlib import Path

from tests.fuzz.child import Folder, Reader, instrumented, read_inputs

with instrumented():
    from tests.fuzz.readers import READERS, write_run

KEPT = Path(".state/fuzz").absolute()
HANGS = (signal.SIGPROF, signal.SIGALRM)


def fuzz(reader: Reader, run: Path, folder: Folder, seconds: float, seed: int, only: bytes | None = None) -> None:
    """Read inputs for some seconds, or `only` one. A process that dies leaves a finding, and another one goes on."""
    folder.findings.mkdir(parents=True)
    while (left := seconds - folder.counted()[2]) > 0:
        pid = os.fork()
        if not pid:
            read_inputs(reader, run, folder, left, seed, only)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        errors = folder.errors.read_text("utf-8", errors="replace")
        if code and not folder.input.exists():
            raise RuntimeError(errors)  # no input was read
        if code:
            folder.note(death(code, errors), f"{errors}\n{death(code, errors)}")
            folder.add(0, time.time() - folder.input.stat().st_mtime)
        if only is not None or not code:
            return


def death(code: int, errors: str) -> str:
    """How a process ended, and where, as faulthandler printed it."""
    how = "hang" if -code in HANGS else signal.Signals(-code).name if code < 0 else f"exit-code-{code}"
    places = re.findall(r'File "(.*)", line (\d+)', errors)
    own = [place for place in places if "/armdigits/" in place[0]] or places
    return "-".join([how, *(f"{Path(path).stem}-{line}" for path, line in own[:1])])


def report(folder: Folder) -> int:
    """Print the counts of a reader and its findings, which are moved to where they are kept; returns their number."""
    name = folder.findings.parent.name
    inputs, answers, seconds = folder.counted()
    found = sorted(folder.findings.glob("*.txt"))
    coverage = re.findall(r"cov: (\d+)", folder.errors.read_text("utf-8", errors="replace"))
    new = len(list(folder.seeds.glob("?" * 40)))
    guided = f", {coverage[-1]} branches, {new} inputs reached new ones" if coverage else ""
    counts = f"{inputs:8} inputs, {inputs / seconds:6.0f} a second, {answers} answered{guided}, {len(found)} findings"
    print(f"{name:12}{counts}", flush=True)
    KEPT.mkdir(parents=True, exist_ok=True)
    for text in found:
        kept = KEPT / text.stem
        repeat = f"python -m tests.fuzz --repeat {os.path.relpath(kept)}"
        print(f"    FINDING: {text.read_text('utf-8').splitlines()[-1][:200]!a}\n    {repeat}", flush=True)
        shutil.move(text.with_suffix(""), kept)
        kept.with_name(text.name).write_text(f"{text.read_text('utf-8')}\n{repeat}\n", "utf-8")
        text.unlink()
    return len(found)


def main(names: list[str], seconds: float, seed: int, repeat: Path | None) -> int:
    """Read inputs with each reader for its share of the time; returns the exit code."""
    if repeat:
        names = [repeat.name.partition("-")[0]]
        only = repeat.read_bytes()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary).resolve()
        run = folder / "run"
        run.mkdir()
        with chdir(run):
            write_run()
        findings = 0
        for name in names:
            fuzz(READERS[name], run, Folder(folder / name), seconds / len(names), seed, only if repeat else None)
            findings += report(Folder(folder / name))
    return 1 if findings else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Feed the readers of foreign bytes with mutated inputs.")
    parser.add_argument("readers", nargs="*", metavar="reader", help=f"of {', '.join(READERS)}")
    parser.add_argument("--seconds", type=float, default=60, help="for all readers; the preparation does not count")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations")
    parser.add_argument("--repeat", type=Path, metavar="FILE", help="read this input only")
    options = parser.parse_args()
    sys.exit(main(options.readers or list(READERS), options.seconds, options.seed, options.repeat))
