"""Check every output, every object in DVC's cache, and the digests that tie data, model and programs together.

DVC hashes a file once and trusts it as long as its size and time stay the same, and it does not hash files that it
restores from its cache. This command reads everything. It prints a line for each damaged file and the command that
repairs it, changes nothing, and ends with exit code 1 when a file is damaged. With --reproduced it compares the outputs
with those of the last commit instead, and ends with 1 when they differ although the machine should give the same bits.
"""

import argparse
import shlex
from pathlib import Path

from armdigits.core import lock, paths
from armdigits.core.cache import mismatches, objects_folder, unverified_remote
from armdigits.core.errors import Failure, GateFailed
from armdigits.report.reproduced import compare_with_commit


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("--reproduced", action="store_true", help="compare the outputs with those of the last commit")


def run(options: argparse.Namespace) -> None:
    """Check outputs and objects; then, when they are undamaged, whether they belong together."""
    if options.reproduced:
        check_reproduced()
        return
    outs, objects = lock.locked_outs(), cached_objects()
    warn_of_remote()
    report(mismatches({**outs, **objects}))
    links = check_links()
    print(f"verified: {len(outs)} outputs, {len(objects)} objects in the cache, {links} links between the files")


def check_reproduced() -> None:
    """Print whether the run made the outputs of the last commit again.

    Raises:
        GateFailed: it did not, although this machine should give the same bits.
        BadInput: there is nothing to compare with.
    """
    answer = compare_with_commit()
    if answer.is_broken:
        raise GateFailed(answer.line)
    print(answer.line)


def report(damaged: dict[Path, str]) -> None:
    """Raise Failure for damaged files: path -> reason. The last line is the command that repairs them."""
    if damaged:
        repair = f"rm -rf {shlex.join(map(str, damaged))} && dvc repro"
        raise Failure(*(f"{path}: {reason}" for path, reason in damaged.items()), f"to repair, run: {repair}")


def warn_of_remote() -> None:
    """Say it when DVC does not check the hash of what it pulls from the default remote."""
    if name := unverified_remote():
        print(f"DVC checks no hash of what it pulls from {name}; run: dvc remote modify {name} verify true", flush=True)


def cached_objects() -> dict[Path, str]:
    """Path -> MD5 of every object in DVC's cache: the MD5 is its path."""
    found = objects_folder().glob("[0-9a-f][0-9a-f]/*")
    return {path: path.parent.name + path.stem for path in found}  # .stem: without .dir


def check_links() -> int:
    """Check the chain data -> model -> programs with the readers that the stages use.

    Returns:
        The number of links.

    Raises:
        BadInput: a link is broken; the message names the stage to run again.
    """
    # torch takes seconds to import, and a damaged file is found without it
    from armdigits.data.dataset import read_split
    from armdigits.models.checkpoint import read_checkpoint, read_teacher_logits
    from armdigits.program.runtime import read_content

    splits = (paths.TRAIN_DATA, paths.VALIDATION_DATA, paths.TEST_DATA)
    programs = (paths.FP32_PROGRAM, paths.INT8_PROGRAM, paths.EMPTY_PROGRAM)
    for path in splits:
        read_split(path)
    read_teacher_logits(paths.TEACHER_LOGITS)
    _, weights_sha256 = read_checkpoint(paths.MODEL)
    for path in programs:
        read_content(path, weights_sha256)
    return len([*splits, paths.TEACHER_LOGITS, paths.MODEL, *programs])
