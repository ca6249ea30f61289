"""Faults: system calls that fail, files that may not grow, full and read-only file systems."""

import resource
import subprocess
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

from tests.campaign.checks import Ended, Trial, check, check_one_line
from tests.campaign.laboratory import OUTS, Laboratory
from tests.campaign.processes import run_traced

SLOW = ("teach", "quantize", "export", "benchmark")  # each of their calls meets one of the two errors, not both
RESUMING = ("teach", "train")  # run again after a fault
PAGE = 4096  # bytes


def faults(lab: Laboratory) -> Iterator[Trial]:
    """Every trial in which a call fails."""

    def trial(what: str, name: str, meet: Callable[[], Ended]) -> Trial:
        return Trial("fault", what, partial(fault, lab, name, meet))

    for name in lab.stages:
        for _ in range(3 if name == "quantize" else 8):
            yield trial("limit on the size of files", name, partial(size_limit, lab, name))
        if can_mount(lab.project):
            for _ in range(2 if name in SLOW else 6):
                yield trial("full file system", name, partial(file_system, lab, name, "full"))
            yield trial("read-only file system", name, partial(file_system, lab, name, "read-only"))
        for call, count in lab.calls_of(name) if lab.has_strace else ():
            errors = ("ENOSPC", "EIO")
            for error in errors if name not in SLOW else errors[count % 2 :][:1]:
                meet = partial(run_traced, name, lab.project, "-e", f"inject={call}:error={error}:when={count}")
                yield trial(f"{error} at the N-th call, every N", name, meet)


def fault(lab: Laboratory, name: str, meet: Callable[[], Ended]) -> int:
    """Let a stage meet a fault: it must fail with one line or succeed; returns 1 when it failed."""
    lab.reset(name)
    ended = meet()
    lab.check_outputs(name)
    if ended.code == 0:
        check(not lab.missing(name), f"{name} succeeds without {lab.missing(name)}")
        return 0
    check_one_line(name, ended, codes=(1, 2))
    if name in RESUMING:
        lab.check_success(name)
    return 1


def size_limit(lab: Laboratory, name: str) -> Ended:
    """Run a stage whose files may not grow beyond a random size (EFBIG), every magnitude equally likely."""
    largest = max(len(lab.expected[path]) for path in OUTS[name])
    limit = int(2 ** lab.random.uniform(0, largest.bit_length()))
    return lab.run(name, prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))


def file_system(lab: Laboratory, name: str, kind: str) -> Ended:
    """Run a stage with one of its folders on a file system that is "full" (ENOSPC) or "read-only" (EROFS)."""
    folder = lab.random.choice([*sorted({(lab.project / path).parent for path in OUTS[name]}), lab.project / ".state"])
    before = contents(folder)
    room = lab.random.randrange(PAGE, PAGE + 2 * sum(len(lab.expected[path]) for path in OUTS[name]), PAGE)
    room += sum(PAGE + len(content) for content in before.values())
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "none", folder], check=True)
    try:
        write(before)
        if kind == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        ended = lab.run(name)
        after = contents(folder)
    finally:
        subprocess.run(["umount", folder], check=True)
    write(after)
    return ended


@cache
def can_mount(folder: Path) -> bool:
    """Whether a file system can be mounted here: root can, but in a default container it cannot."""
    try:
        subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True, capture_output=True)
        subprocess.run(["umount", folder], check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def contents(folder: Path) -> dict[Path, bytes]:
    """The bytes of the files of a folder, without its subfolders."""
    return {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def write(files: dict[Path, bytes]) -> None:
    """Write the files."""
    for path, content in files.items():
        path.write_bytes(content)
