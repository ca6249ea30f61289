"""What a failure leaves in Git's working tree: no file that Git tracks is missing.

DVC removes the outputs of a stage before it starts the stage, and leaves it at that when the stage fails. Those in
DVC's cache come back with `dvc checkout`; the metrics and tables that Git tracks come back here.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from armdigits.core import git, paths


@contextmanager
def restored_on_failure(name: str) -> Iterator[None]:
    """When the block fails, or a signal ends it, put back what is missing, with one line `name: ...` on stderr."""
    try:
        yield
    except BaseException as error:
        if not (isinstance(error, SystemExit) and not error.code):
            with suppress(OSError):  # nobody reads stderr any more
                restore(name)
        raise


def restore(name: str) -> None:
    """Put back the tracked files of metrics/ that are missing, as Git's index has them; existing files stay.

    Without Git, or where Git refuses this folder, nothing happens.
    """
    missing = _git("ls-files", "-z", "--deleted", "--", str(paths.METRICS))
    if missing and _git("checkout-index", "-z", "--stdin", standard_input=missing) is not None:
        files = missing.decode(errors="replace").replace(f"{paths.METRICS}/", "").rstrip("\0").replace("\0", ", ")
        print(f"{name}: restored from Git in {paths.METRICS}/: {files}", file=sys.stderr, flush=True)


def _git(*arguments: str, standard_input: bytes = b"") -> bytes | None:
    """The output of a Git command; None when it failed."""
    try:
        done = git.run(*arguments, standard_input=standard_input)
    except OSError:
        return None
    return None if done.returncode else done.stdout
