"""What keeps the decoders of foreign files in bounds."""

import logging
import mmap
import resource
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from armdigits.core.errors import stderr_muted

STATM = Path("/proc/self/statm")  # proc_pid_statm(5); only Linux has it
logging.getLogger("PIL").addHandler(logging.NullHandler())  # or its warnings go to stderr
DATA = 5  # the field there of what RLIMIT_DATA limits, in pages


@contextmanager
def contained(memory: int) -> Iterator[None]:
    """Inside the block no library prints anything, and on Linux none gets more than `memory` bytes.

    A small file can ask for any amount: a TIFF of 64x64 pixels and 1.6 MB may be stored as one tile of 1.6 GB.

    Raises:
        MemoryError: a library asks for more.
    """
    with stderr_muted(), warnings.catch_warnings(), _limited(memory) if STATM.exists() else nullcontext():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _limited(memory: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    in_use = int(STATM.read_text("utf-8").split()[DATA]) * mmap.PAGESIZE
    limits = [limit for limit in before if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([in_use + memory, *limits]), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
