"""The stages of the pipeline: one script each, run as `python -m stages.NAME`."""

import sys

from armdigits.core import start

if sys.argv[0] == "-m":  # Python sets this while it looks for the module to run
    start.prepare(sys.orig_argv[-1])
