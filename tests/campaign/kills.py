"""Kills of the training: at random moments, at every system call that changes a file, and under DVC."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.campaign.checks import Trial, check
from tests.campaign.laboratory import Laboratory
from tests.campaign.processes import run_traced, start
from tests.helpers import environment, run

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
REPRO = ("dvc", "repro", "--force", "--single-item", "train")


def kills(lab: Laboratory, slowest: list[float]) -> Iterator[Trial]:
    """Every trial that kills; appends to `slowest` the seconds from SIGTERM or SIGINT to the end of the stage."""
    if "train" not in lab.stages:
        return
    for number in SIGNALS * 10:
        yield Trial("kill", f"{number.name} at random moments", partial(at_random_moments, lab, number, 5, slowest))
    for whom in ("stage", "dvc", "session"):
        for number in SIGNALS[:2] * 2:
            yield Trial("kill", f"{number.name} of the {whom} under DVC", partial(under_dvc, lab, whom, number))
    if lab.has_strace:
        for call, count in lab.calls_of("train"):
            yield Trial("kill", "SIGKILL at the N-th call, every N", partial(at_call, lab, call, count))


def at_random_moments(lab: Laboratory, number: signal.Signals, times: int, slowest: list[float]) -> int:
    """Start the training and kill it, up to `times` times, then let it end; returns how many kills hit it."""
    lab.reset("train")
    hits = 0
    for _ in range(times):
        process = start("train", lab.project)
        time.sleep(lab.random.uniform(0, lab.seconds_of["train"]))
        sent = time.monotonic()
        os.kill(process.pid, number)
        ended = process.wait()
        lab.check_outputs("train")
        if ended.code == 0:
            break
        hits += 1
        if number != signal.SIGKILL:
            slowest.append(time.monotonic() - sent)
            check(ended.code in (128 + number, -number), f"exit code {ended.code} after {number.name}")
            check("Traceback" not in ended.errors, f"{number.name}: {ended.errors}")
    lab.check_success("train")
    return hits


def at_call(lab: Laboratory, call: str, count: int) -> int:
    """Kill the training at its system call number `count` of that name."""
    lab.reset("train")
    ended = run_traced("train", lab.project, "-e", f"inject={call}:signal=KILL:when={count}")
    lab.check_outputs("train")
    lab.check_success("train")
    return int(ended.code == -signal.SIGKILL)


def under_dvc(lab: Laboratory, whom: str, number: signal.Signals) -> int:
    """Kill the stage, `dvc` alone, or their session while `dvc repro` trains; then run repro until it succeeds."""
    lab.reset("train")
    dvc = subprocess.Popen(
        REPRO,
        cwd=lab.project,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while dvc.poll() is None and not stages_of(dvc.pid):
        time.sleep(0.01)
    time.sleep(lab.random.uniform(0, 5))
    stages = stages_of(dvc.pid)
    victims = {"stage": stages, "dvc": [dvc.pid], "session": [*stages, dvc.pid]}[whom]
    hit = dvc.poll() is None and bool(victims)
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    dvc.wait()
    lab.check_outputs("train")
    repro_until_success(lab)
    check(not stages_of(dvc.pid), "an orphan still runs beside the success")
    lab.check_outputs("train")
    lab.check_no_leftovers()
    return int(hit)


def repro_until_success(lab: Laboratory) -> None:
    """Repeat `dvc repro` while an orphan of a killed `dvc` holds the stage's lock, for a minute at most."""
    for _ in range(60):
        done = run(lab.project, *REPRO)
        if done.returncode == 0:
            return
        check("another train is running (pid " in done.stderr, f"dvc repro fails: {done.stderr}")
        time.sleep(1)
    check(False, "dvc repro does not succeed within a minute")


def stages_of(session: int) -> list[int]:
    """The process ids of the stages that run in a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z" and b"stages." in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
