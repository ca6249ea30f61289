"""Write the experiments of this commit to a file, for `armdigits sweep` on another machine.

The file is what `dvc exp show --json` prints.
"""

import argparse
from pathlib import Path

from armdigits.cli import dvc
from armdigits.core import files


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        default=Path("experiments.json"),
        metavar="FILE",
        help="where to write them (default: %(default)s)",
    )


def run(options: argparse.Namespace) -> None:
    """Write the file."""
    files.write_bytes(options.file, dvc.ask("exp", "show", "--json").encode())
