"""Write dvc_plots/index.html, DVC's page of this run and of another commit; it loads Vega from the network.

Curves and matrices come from Git, figures from DVC's cache. Where the cache does not have the other commit's figures,
a line says what gets them, and the page is written without them.

example:
  armdigits plots main
"""

import argparse
import sys

from armdigits.cli import dvc
from armdigits.core import lock
from armdigits.core.cache import objects_folder
from armdigits.core.errors import printable
from armdigits.report.against import read_base


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("base", nargs="?", default="main", metavar="COMMIT", help="default: %(default)s")


def run(options: argparse.Namespace) -> int:
    """Say what is missing, then call DVC; returns its exit code."""
    base = options.base
    if figures := missing_figures(base):
        remedy = f"dvc fetch --all-commits, or without a remote: git switch --detach {base} && dvc repro"
        print(
            printable(f"plots: DVC's cache does not have {', '.join(figures)} of {base}; run: {remedy}"),
            file=sys.stderr,
        )
    return dvc.run("plots", "diff", base)


def missing_figures(base: str) -> list[str]:
    """The figures of the commit `base` that are not in DVC's cache.

    Raises:
        BadInput: there is no such commit, or it has no valid `dvc.lock`.
    """
    stages = lock.parse_lock(read_base(base, lock.LOCK), f"{lock.LOCK} in {base}")
    figures = {path: out.md5 for outs in stages.values() for path, out in outs.items() if path.endswith(".png")}
    folder = objects_folder()
    return [path for path, md5 in figures.items() if not (folder / md5[:2] / md5[2:]).exists()]
