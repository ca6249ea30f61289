"""The stages of the pipeline: one script each, run as `python -m stages.NAME`."""

import os
import signal
import sys

if sys.argv[0] == "-m":  # Python sets this while it looks for the module to run
    # Importing a stage takes seconds. Until it has handlers of its own, Ctrl-C ends it without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Read when torch is imported: its C++ part logs errors that also come as exceptions, which get one line.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
