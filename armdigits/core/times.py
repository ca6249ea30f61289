"""How long the stages take, measured where they run: for the last line of `make repro`."""

import shutil
import time

from armdigits.core import paths

STARTED = time.monotonic()  # start.py imports this, so that the imports of a stage count


def forget() -> None:
    """Remove all records."""
    shutil.rmtree(paths.SECONDS, ignore_errors=True)


def record(stage: str) -> None:
    """Write down how long this process has run the stage."""
    paths.SECONDS.mkdir(parents=True, exist_ok=True)
    (paths.SECONDS / stage).write_text(f"{time.monotonic() - STARTED:.3f}", "utf-8")


def summary(command: str, total: float) -> str:
    """One line: the `total` seconds of a command, and those of the stages that ran in it, the longest first."""
    spent = {path.name: float(path.read_text("utf-8")) for path in paths.SECONDS.glob("*")}
    spent["DVC"] = total - sum(spent.values())
    parts = [f"{name} {seconds:.0f}" for name, seconds in sorted(spent.items(), key=lambda item: -item[1])]
    return f"{command} took {total:.0f} s: {', '.join(part for part in parts if not part.endswith(' 0'))}"
