"""Run the pipeline and show the results; go on with the embedded digits when MNIST cannot be had.

    python -m tools.reproduce            (make repro)

Going on with other data is a change of parameters like any other: it is made in params.yaml, where `git diff` shows
it, and DVC and every metrics file know it.
"""

import subprocess
import sys

from armdigits import paths
from armdigits.errors import reported
from tools.results import table
from tools.select_dataset import select

LINE = "=" * 88


def dvc_repro(*arguments: str) -> int:
    """Run `dvc repro`; its output goes to the screen. Returns its exit code."""
    return subprocess.run(["dvc", "repro", *arguments], check=False).returncode


def main() -> int:
    """Returns the exit code: that of `dvc repro`."""
    paths.NO_MIRROR.unlink(missing_ok=True)
    code = dvc_repro("download")
    if code and paths.NO_MIRROR.exists():
        changes = "\n".join(f"    {change}" for change in select("digits"))
        print(
            f"\n{LINE}\nNo mirror of MNIST can be reached (the reasons stand above).\n"
            "Going on with scikit-learn's embedded digits instead. Changed in params.yaml:\n"
            f"{changes}\nBack to MNIST, when a mirror or DATA_MIRROR is there: make mnist repro\n{LINE}\n",
            flush=True,
        )
    elif code:
        return code
    code = dvc_repro()
    if code == 0:
        print(f"\n{table()}", end="")
    return code


if __name__ == "__main__":
    with reported("reproduce"):
        sys.exit(main())
