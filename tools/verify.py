"""Check what DVC takes on trust: every out, every object of its cache, and the chain of digests between the artefacts.

    python -m tools.verify               (make verify)

DVC hashes a file once, and believes it for as long as its size and time stay the same; what it restores from its
cache it does not hash at all. Here everything is read. Prints a line for each thing that is wrong and the command
that heals it, changes nothing, and ends with exit code 1 when something is wrong.
"""

import hashlib
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from armdigits import paths
from armdigits.errors import BadInput, Failure, reported

LOCK = Path("dvc.lock")


def main() -> None:
    """Check outs and objects; then, when they are what the lock says, whether they belong together."""
    outs, objects = locked_outs(), cached_objects()
    wrong = mismatches({**outs, **objects})
    if wrong:
        restore = f"rm -f {shlex.join(map(str, wrong))} && dvc repro"
        raise Failure(*(f"{path}: {reason}" for path, reason in wrong.items()), f"to heal it, run: {restore}")
    links = links_that_hold()
    print(f"verified: {len(outs)} outs, {len(objects)} objects in the cache, {links} links between the artefacts")


def locked_outs() -> dict[Path, str]:
    """Path -> MD5 of every out of every stage in `dvc.lock`."""
    try:
        stages = yaml.safe_load(LOCK.read_bytes())["stages"]
        return {Path(out["path"]): out["md5"] for stage in stages.values() for out in stage.get("outs", [])}
    except FileNotFoundError:
        raise BadInput(f"{LOCK}: there is no such file; run: dvc repro") from None
    except (yaml.YAMLError, LookupError, TypeError, AttributeError):
        raise BadInput(f"{LOCK}: not a lock file of DVC; run: rm {LOCK} && dvc repro") from None


def cached_objects() -> dict[Path, str]:
    """Path -> MD5 of every object in DVC's cache: the path is made of the MD5."""
    asked = subprocess.run(["dvc", "cache", "dir"], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise BadInput(f"DVC cannot say where its cache is ({asked.stderr.strip().splitlines()[-1]})")
    folder, here = Path(asked.stdout.strip(), "files", "md5"), Path.cwd()
    objects = {path: path.parent.name + path.stem for path in folder.glob("[0-9a-f][0-9a-f]/*")}  # .stem: without .dir
    return {path.relative_to(here) if path.is_relative_to(here) else path: md5 for path, md5 in objects.items()}


def mismatches(expected: dict[Path, str]) -> dict[Path, str]:
    """Path -> reason for every file that has not the MD5 expected of it."""
    with ThreadPoolExecutor() as pool:  # hashing and reading release Python's lock
        found = zip(expected.items(), pool.map(_md5, expected), strict=True)
        return {path: f"expected MD5 {md5}, found {other}" for (path, md5), other in found if other != md5}


def _md5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    except OSError as error:
        return f"none ({error.strerror})"


def links_that_hold() -> int:
    """The number of links in the chain data -> model -> programs, each checked by the reader that the stages use.

    Raises:
        BadInput: a link is broken; the message names the stage to run again.
    """
    # torch takes seconds to import, and a damaged file is told without it
    from armdigits.checkpoint import read_checkpoint, read_opinions
    from armdigits.dataset import read_split
    from armdigits.runtime import read_content

    splits = (paths.TRAIN_DATA, paths.VALIDATION_DATA, paths.TEST_DATA)
    programs = (paths.FP32_PROGRAM, paths.INT8_PROGRAM, paths.EMPTY_PROGRAM)
    for path in splits:
        read_split(path)
    read_opinions(paths.OPINIONS)
    _, weights_sha256 = read_checkpoint(paths.MODEL)
    for path in programs:
        read_content(path, weights_sha256)
    return len([*splits, paths.OPINIONS, paths.MODEL, *programs])


if __name__ == "__main__":
    with reported("verify"):
        main()
