"""Run the pipeline and print the results table; without a mirror of MNIST, run it on the embedded digits.

Before the table, each output and its object in DVC's cache are compared with dvc.lock. Below it, a line says whether
the outputs are those of the commit, to the bit, or which differ and why; the last line says how long it took, and how
long each stage that ran. The switch to the embedded digits is made in params.yaml, where `git diff` shows it, and every
metrics file names its data set.
"""

import argparse
import time

from armdigits.cli import dvc, verify
from armdigits.cli.dataset import select
from armdigits.core import lock, paths, times
from armdigits.core.cache import damaged_objects, mismatches
from armdigits.core.errors import BadInput
from armdigits.report.reproduced import compare_with_commit
from armdigits.report.results import table

RULE = "=" * 88


def configure(_parser: argparse.ArgumentParser) -> None:
    """There are no arguments."""


def run(_options: argparse.Namespace) -> int:
    """Run the pipeline; returns the exit code of `dvc repro`."""
    started = time.monotonic()
    dvc.require_git()
    times.forget()
    paths.NO_MIRROR.unlink(missing_ok=True)
    code = dvc.run("repro", "download")
    if code and paths.NO_MIRROR.exists():
        changes = "\n".join(f"    {change}" for change in select("digits")[0])
        print(
            f"\n{RULE}\nNo mirror of MNIST can be reached (see the reasons above).\n"
            "The pipeline runs on scikit-learn's embedded digits instead. Changed in params.yaml:\n"
            f"{changes}\nBack to MNIST, with a mirror or DATA_MIRROR: make mnist repro\n{RULE}\n",
            flush=True,
        )
    elif code:
        return code
    code = dvc.run("repro")
    if code == 0:
        verify.report(mismatches(lock.locked_outs()) | damaged_objects(lock.read_lock()))
        print(f"\n{table()}\n{outcome()}\n{times.summary('repro', time.monotonic() - started)}")
    return code


def outcome() -> str:
    """Whether the run made the outputs of the commit again, in one line."""
    try:
        return compare_with_commit().line
    except BadInput as problem:
        return f"not compared with the commit: {problem}"
