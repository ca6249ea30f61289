"""Write report/index.html, a page that shows the last run, and report/draw.html, to which it links (armdigits draw).

They are made from the files that the stages wrote, and need no network: run the pipeline first, or `dvc pull` another
machine's results. Both are light or dark, as the reader's system is; the second is for square images of ink alone. With
a commit the first also compares the run with that one: the metrics, the learning curves, the confusion matrices.

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
    from armdigits.core import files, paths, records
    from armdigits.draw import page as draw
    from armdigits.report import page

    pages = {page.REPORT: page.render(options.base)}
    if records.read(paths.PROGRAM_RECORD, records.Programs, "quantize").can_be_drawn():
        pages[draw.DRAW] = draw.render()
    for path, text in pages.items():
        content = text.encode()
        files.write_bytes(path, content)
        print(f"{path}: {len(content) / 1000:,.0f} kB; open it in a browser")
