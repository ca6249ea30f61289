"""`python -m armdigits VERB` is `armdigits VERB`."""

import sys

from armdigits.cli import main

if __name__ == "__main__":
    sys.exit(main())
