"""Write report/index.html, a page that shows the last run; it needs no network and no other file.

It is made from the files that the stages wrote: run the pipeline first, or `dvc pull` another machine's results. The
page is light or dark, as the reader's system is. With a commit it also compares the run with that one: the metrics,
the learning curves, the confusion matrices.

example:
  armdigits report --base main
"""

import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--base", default="", metavar="COMMIT", help="compare the run with that of this commit")


def run(options: argparse.Namespace) -> None:
    """Write the page and print where it is."""
    # matplotlib and torch take seconds to import, and --help needs neither
    from armdigits.core import files
    from armdigits.report.page import REPORT, render

    content = render(options.base).encode()
    files.write_bytes(REPORT, content)
    print(f"{REPORT}: {len(content) / 1000:,.0f} kB; open it in a browser")
