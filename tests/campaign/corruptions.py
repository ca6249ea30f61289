"""Corruptions: damaged artifacts, artifacts of another run, damaged snapshots, damage that `armdigits verify` finds."""

import os
import pickle
import random
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from armdigits.core import paths
from tests.campaign.checks import Trial, check, check_one_line
from tests.campaign.laboratory import Laboratory
from tests.campaign.processes import start
from tests.helpers import run

READERS = {  # artifact: (the stage that reads it, the stage that makes it)
    paths.TRAIN_DATA: ("train", "download"),
    paths.VALIDATION_DATA: ("train", "download"),
    paths.TEST_DATA: ("evaluate", "download"),
    paths.PROVENANCE: ("evaluate", "download"),
    paths.TEACHER_LOGITS: ("train", "teach"),
    paths.MODEL: ("evaluate", "train"),
    paths.FP32_PROGRAM: ("benchmark", "quantize"),
    paths.INT8_PROGRAM: ("benchmark", "quantize"),
    paths.EMPTY_PROGRAM: ("benchmark", "quantize"),
    paths.PROGRAM_RECORD: ("benchmark", "quantize"),
}
LOADED_CODE = "loaded-code"  # the file that a pickle leaves when it is loaded


def flipped(content: bytes, chance: random.Random) -> bytes:
    """Flip one bit."""
    damaged = bytearray(content)
    damaged[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def truncated(content: bytes, chance: random.Random) -> bytes:
    """Drop the end."""
    return content[: chance.randrange(len(content))]


def emptied(_content: bytes, _chance: random.Random) -> bytes:
    """Drop everything."""
    return b""


class Bomb:
    """An object that writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
        return Path.touch, (Path(LOADED_CODE),)


def pickled(_content: bytes, _chance: random.Random) -> bytes:
    """Put code in the place of data."""
    return pickle.dumps(Bomb())


Damage = Callable[[bytes, random.Random], bytes]
DAMAGES: tuple[Damage, ...] = (flipped, truncated, emptied, pickled)


def corruptions(lab: Laboratory) -> Iterator[Trial]:
    """Every trial with a damaged file."""
    for path in (path for path, stages in READERS.items() if set(stages) <= set(lab.stages)):
        other = (lab.other / path).read_bytes()
        if other == lab.expected[path]:
            print(f"{path}: not exchanged for that of another run, which has the same bytes")
        else:
            what = "file of another run"
            yield Trial("corruption", what, partial(of_artifact, lab, path, lambda *_, content=other: content))
        for damage in DAMAGES:
            for _ in range(12 if damage in (flipped, truncated) else 1):
                yield Trial("corruption", f"artifact {damage.__name__}", partial(of_artifact, lab, path, damage))
    for damage in DAMAGES * 3:
        if "train" in lab.stages:
            yield Trial("corruption", f"snapshot {damage.__name__}", partial(of_snapshot, lab, damage))
        yield Trial("corruption", f"file {damage.__name__}, verify", partial(that_verify_finds, lab, damage))


def of_artifact(lab: Laboratory, path: Path, damage: Damage) -> int:
    """Damage an artifact and run its reader, which must refuse it or still give the right result."""
    reader, maker = READERS[path]
    lab.reset(reader)
    (lab.project / path).write_bytes(damage(lab.expected[path], lab.random))
    ended = lab.run(reader)
    check(not (lab.project / LOADED_CODE).exists(), f"{path}: {reader} ran code from it")
    if ended.code == 0:
        check(reader != "benchmark", f"{path}: {reader} accepts it")  # timings have no expected bytes
        check(not lab.missing(reader), f"{path}: {reader} succeeds without {lab.missing(reader)}")
        lab.check_outputs(reader)
        return 1
    check_one_line(reader, ended, codes=(2,))
    check(str(path) in ended.errors or path == paths.PROGRAM_RECORD, f"{path} is not named: {ended.errors}")
    check(f"--force {maker}" in ended.errors, f"{path}: {maker} is not named: {ended.errors}")
    return 1


def of_snapshot(lab: Laboratory, damage: Damage) -> int:
    """Kill the training, damage its newest snapshot, and start it again."""
    lab.reset("train")
    snapshots = lab.project / paths.TRAIN_SNAPSHOTS
    process = start("train", lab.project)
    while not list(snapshots.glob("epoch-*")):
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    newest = max(snapshots.glob("epoch-*"))
    newest.write_bytes(damage(newest.read_bytes(), lab.random))
    lab.check_success("train")
    check(not (lab.project / LOADED_CODE).exists(), "train ran code from a snapshot")
    return 1


def that_verify_finds(lab: Laboratory, damage: Damage) -> int:
    """Damage any output or any object in DVC's cache; `armdigits verify` must name it."""
    lab.restore()
    cached = [path.relative_to(lab.project) for path in lab.project.glob(".dvc/cache/files/md5/*/*")]
    path = lab.random.choice(sorted([*lab.expected, *cached]))
    file = lab.project / path
    content = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(damage(content, lab.random))
    done = run(lab.project, sys.executable, "-m", "armdigits", "verify")
    file.write_bytes(content)
    check(done.returncode == 1, f"verify accepts {path}: {done.stdout}{done.stderr}")
    check(f"verify: {path}: expected MD5 " in done.stderr, f"verify does not name {path}: {done.stderr}")
    check("verify: to repair, run: " in done.stderr, f"verify does not say what to do: {done.stderr}")
    return 1
