"""A campaign of kills, faults and corruptions against the stages: real processes, in random order.

    python -m tests.campaign                           (all trials, half an hour or more)
    python -m tests.campaign --seconds 90 --seed 2     (as many as fit, in the order of the seed)

    kill        The train stage is killed at a random moment, or at its N-th system call that changes a file, for
                every N; under DVC the stage, `dvc` alone, or the whole session is killed. Run again, it must end
                with the bytes of an undisturbed run.
    fault       A stage meets ENOSPC or EIO at its N-th call, for every N, a limit on the size of files, a full or a
                read-only file system. It must say so in one line, and each output must be complete or absent.
    corruption  A bit of an artifact is flipped, or the artifact is truncated, emptied, replaced by a pickle or by the
                file of another run. Its reader must refuse it with one line that names the stage to run, or give the
                right result.

Prints how many of each took effect; exit code 1 after any violation. Linux only. Exact system calls
need strace, file systems need root; without them their trials are left out.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

from tqdm import tqdm

from tests.campaign.checks import Violation
from tests.campaign.corruptions import corruptions
from tests.campaign.faults import can_mount, faults
from tests.campaign.kills import kills
from tests.campaign.laboratory import OUTS, Laboratory


def main(seconds: float, seed: int, stages: list[str]) -> int:
    """Run the trials in random order for some seconds; print the counts; returns the exit code."""
    begin = time.monotonic()
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    violations, done = 0, 0
    slowest: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        lab = Laboratory(Path(folder), seed, stages)
        if not lab.has_strace:
            print("no strace: no trial at an exact system call")
        if not can_mount(lab.project):
            print("not allowed to mount: no trial on a full or read-only file system")
        trials = [*kills(lab, slowest), *faults(lab), *corruptions(lab)]
        lab.random.shuffle(trials)
        print(f"{len(trials)} trials, prepared in {time.monotonic() - begin:.0f} s; seed {seed}", flush=True)
        begin = time.monotonic()
        for trial in tqdm(trials, disable=None, leave=False):
            if time.monotonic() - begin > seconds:
                break
            try:
                counts[trial.kind][trial.what] += trial.run()
            except Violation as violation:
                violations += 1
                print(f"VIOLATION: {trial.what}: {violation}", flush=True)
            done += 1
    for kind, each in counts.items():
        print(f"{each.total():5} x {kind}")
        for what, times in sorted(each.items()):
            print(f"      {times:5} x {what}")
    print(f"{done} of {len(trials)} trials in {time.monotonic() - begin:.0f} s, {violations} violations")
    if slowest:
        print(f"SIGTERM and SIGINT ended the stage within {max(slowest):.2f} s")
    return 1 if violations else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kill, fault and corrupt the stages, and check what they leave.")
    parser.add_argument(
        "--seconds", type=float, default=3600, help="no trial begins after this time; the preparation does not count"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the order and of the random moments and places")
    parser.add_argument("--stages", nargs="+", choices=list(OUTS), default=list(OUTS), help="in this order")
    options = parser.parse_args()
    sys.exit(main(options.seconds, options.seed, options.stages))
