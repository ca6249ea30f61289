"""Print the results table of the last run, or put it into README.md, between its two markers."""

import argparse

from armdigits.report import results


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")


def run(options: argparse.Namespace) -> None:
    """Print the table, or write it."""
    if options.readme:
        results.write_readme()
    else:
        print(results.table(), end="")
