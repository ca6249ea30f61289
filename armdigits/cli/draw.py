"""Write report/draw.html, a page to draw on: the int8 program reads the drawing while it is made.

The page runs models/c/digits.c, compiled to WebAssembly, in the browser. It needs no network and no other file, so it
can be mailed, or put on any web server. Run the pipeline first, or `dvc pull` another machine's results.

example:
  armdigits draw -o site/index.html
"""

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="default: report/draw.html")


def run(options: argparse.Namespace) -> None:
    """Write the page and print where it is."""
    # matplotlib, whose colours the page has, takes a second to import, and --help does not need it
    from armdigits.core import files
    from armdigits.draw.page import DRAW, render

    content = render().encode()
    output = options.output or DRAW
    files.write_bytes(output, content)
    print(f"{output}: {len(content) / 1000:,.0f} kB; open it in a browser")
