"""Run one experiment of a sweep on this machine, and share its results through DVC's remote.

With a default remote, the results that dvc.lock names are pulled first, so that no two machines train the same
teacher, and new results are pushed. Without a remote, missing results are computed. Only the stages up to quantize
run, because latencies measured next to other experiments mean nothing. Nothing is pushed to Git: `armdigits sweep
--save` writes the result to a file, and `armdigits sweep` makes a table of such files. As with `dvc exp run`, the
values and the results are in the workspace afterwards; `git restore . && dvc checkout` goes back.

example:
  armdigits experiment train.seed=2 train.learning_rate=0.002
"""

import argparse

from armdigits.cli import dvc, verify
from armdigits.core.errors import BadInput


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUE", help="a value that differs from params.yaml")


def run(options: argparse.Namespace) -> None:
    """Pull, run, push."""
    if wrong := [setting for setting in options.settings if "=" not in setting]:
        raise BadInput(f"expected values such as train.seed=2, got {wrong[0]}")
    dvc.require_git(commits=True)
    has_remote = dvc.ask("config", "core.remote").strip()
    if has_remote:
        verify.warn_of_remote()
        dvc.run_or_fail("pull", "--quiet", "--allow-missing")
    changes = [part for setting in options.settings for part in ("--set-param", setting)]
    dvc.run_or_fail("exp", "run", *changes, "evaluate", "quantize")
    if has_remote:
        dvc.run_or_fail("push", "--quiet")
