"""The verbs: one program a stage, run as `python -m stages.<name>`."""

import os
import signal
import sys

if sys.argv[0] == "-m":  # Python sets this while it looks for the module that it is to run
    # The stage's imports take seconds. A Ctrl-C in them ends the process like any other program, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # torch reads this when it is loaded. What its C++ part would print also comes as an exception, which gets one line.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")
