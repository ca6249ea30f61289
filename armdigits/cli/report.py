"""Write report/index.html, a page that shows the last run; it needs no network and no other file.

It is made from the files that the stages wrote: run the pipeline first, or `dvc pull` another machine's results. The
page is light or dark, as the reader's system is. To compare two runs, use DVC's page: `dvc plots diff`.
"""

import argparse


def configure(_parser: argparse.ArgumentParser) -> None:
    """There are no arguments."""


def run(_options: argparse.Namespace) -> None:
    """Write the page and print where it is."""
    # matplotlib and torch take seconds to import, and --help needs neither
    from armdigits.core import files
    from armdigits.report.page import REPORT, render

    content = render().encode()
    files.write_bytes(REPORT, content)
    print(f"{REPORT}: {len(content) / 1000:,.0f} kB; open it in a browser")
