"""A campaign against the promise that nothing is lost: kills, faults and damage, on real processes, in random order.

    python -m tests.campaign                           (make campaign: all trials, half an hour or more)
    python -m tests.campaign --seconds 90 --seed 2     (make campaign-slice: as many as fit, in the order of the seed)

A trial is one of
    kill        the train stage is killed at a random moment, or at its N-th system call that changes a file, for
                every N; under DVC the stage, `dvc` alone, or the whole session is killed. Run again, it must end
                with the bytes of a run that was never disturbed.
    fault       a stage meets ENOSPC or EIO at its N-th call, for every N, a limit on the size of files, a full or a
                read-only file system. It must say so in one line, and no output may be there by half.
    corruption  an artefact gets a bit flipped, is cut, emptied, replaced by a pickle or by the file of another run.
                Its reader must refuse it with one line that names the stage to run, or give the right result.

Each stage is a process of its own, forked from this one, which has imported torch: a start costs a fraction of a
second instead of several, and hundreds of trials become possible. Under DVC they start from nothing. Exact calls need
strace, file systems need root; what is missing is named, and its trials are left out. Linux only.
"""

import argparse
import json
import os
import pickle
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from tqdm import tqdm

from armdigits import paths, programs, stage
from tests.conftest import copy_project, run, set_parameters

OUTS = {
    "download": [paths.TRAIN_DATA, paths.VALIDATION_DATA, paths.TEST_DATA, paths.PROVENANCE],
    "teach": [paths.OPINIONS, paths.TEACH_METRICS, paths.AUGMENTED],
    "train": [paths.MODEL, paths.LAYERS, paths.TRAIN_METRICS, paths.HISTORY],
    "evaluate": [paths.EVALUATE_METRICS, paths.PREDICTIONS, paths.MISCLASSIFIED],
    "quantize": [paths.FP32_PROGRAM, paths.INT8_PROGRAM, paths.EMPTY_PROGRAM, paths.PROGRAMS, paths.QUANTIZE_METRICS],
    "describe": [paths.MODEL_CARD],
    "benchmark": [paths.BENCHMARK_METRICS, paths.LATENCY],
}
READERS = {  # who reads an artefact, and which stage makes it
    paths.TRAIN_DATA: ("train", "download"),
    paths.VALIDATION_DATA: ("train", "download"),
    paths.TEST_DATA: ("evaluate", "download"),
    paths.PROVENANCE: ("evaluate", "download"),
    paths.OPINIONS: ("train", "teach"),
    paths.MODEL: ("evaluate", "train"),
    paths.FP32_PROGRAM: ("benchmark", "quantize"),
    paths.INT8_PROGRAM: ("benchmark", "quantize"),
    paths.EMPTY_PROGRAM: ("benchmark", "quantize"),
    paths.PROGRAMS: ("benchmark", "quantize"),
}
# The system calls that change files; the names differ between processors, and `?` forgives an unknown one.
CALLS = "write,fsync,ftruncate,flock,unlinkat,?unlink,?rmdir,?mkdir,?mkdirat,?rename,?renameat,?renameat2"
SLOW = ("teach", "quantize", "benchmark")  # their N-th calls meet one kind of error each, in turn
EPOCHS = 8
EXPORTERS = (  # what quantize imports, which takes seconds
    "executorch.backends.xnnpack.partition.xnnpack_partitioner",
    "executorch.backends.xnnpack.quantizer.xnnpack_quantizer",
    "executorch.exir",
    "torchao.quantization.pt2e.quantize_pt2e",
)


class Lost(Exception):
    """A promise is broken."""


def demand(promise: bool, what: str) -> None:
    """Raise Lost unless the promise holds."""
    if not promise:
        raise Lost(what)


@dataclass(frozen=True)
class Ended:
    """How a stage ended: its exit code (minus the signal, when one killed it) and what it wrote to stderr."""

    code: int
    errors: str


@dataclass(frozen=True)
class Process:
    """A running stage, and the file descriptor from which its stderr can be read when it has ended."""

    pid: int
    errors: int

    def wait(self) -> Ended:
        """Wait for its end."""
        _, status = os.waitpid(self.pid, 0)
        with os.fdopen(self.errors, errors="replace") as errors:
            return Ended(os.waitstatus_to_exitcode(status), errors.read())


class Laboratory:
    """A project that has run once, undisturbed, and a second one with another seed."""

    def __init__(self, folder: Path, seed: int, stages: list[str]) -> None:
        self.stages = stages
        self.random = random.Random(seed)  # noqa: S311 - no secrets
        self.folder = folder
        self.project = copy_project(folder / "project")
        set_parameters(self.project, {"train.epochs": str(EPOCHS)})
        self.other = copy_project(folder / "other")
        set_parameters(self.other, {"train.seed": "2", "dataset.seed": "2"})
        self.strace = shutil.which("strace") is not None
        self.seconds_of: dict[str, float] = {}
        for name in stages:
            import_module(f"stages.{name}")
        with programs.quiet():
            for module in EXPORTERS if "quantize" in stages else ():
                import_module(module)
        for project in (self.other, self.project):
            for name in ("preflight", *stages):
                begin = time.monotonic()
                ended = self.run(name, project)
                self.seconds_of[name] = time.monotonic() - begin
                demand(ended.code == 0, f"{name} fails undisturbed: {ended.errors}")
        demand(run(self.project, "dvc", "init", "--no-scm", "-q").returncode == 0, "DVC cannot be set up")
        done = run(self.project, "dvc", "commit", "--force", "-q", "preflight", *stages)
        demand(done.returncode == 0, f"DVC cannot take the results over: {done.stderr}")
        self.expected = {path: (self.project / path).read_bytes() for name in stages for path in OUTS[name]}

    def start(self, name: str, project: Path | None = None, prepare: Callable[[], object] = bool) -> Process:
        """Fork a process that calls `prepare` and runs a stage."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writer)
            return Process(pid, reader)
        code = 1
        try:
            os.close(reader)
            os.dup2(writer, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.chdir(project or self.project)
            signal.alarm(300)  # ends a stage that hangs
            prepare()
            stage.run(name, import_module(f"stages.{name}").main)
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException:  # a traceback, as Python itself would print it
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(code)

    def run(self, name: str, project: Path | None = None, prepare: Callable[[], object] = bool) -> Ended:
        """Run a stage to its end."""
        return self.start(name, project, prepare).wait()

    def restore(self) -> None:
        """Put the undisturbed artefacts back and remove what trainings left."""
        for snapshots in (paths.TEACH_SNAPSHOTS, paths.TRAIN_SNAPSHOTS):
            shutil.rmtree(self.project / snapshots, ignore_errors=True)
        for path, content in self.expected.items():
            (self.project / path).write_bytes(content)

    def remove_outs(self, name: str) -> None:
        """What DVC does before it runs a stage."""
        for path in OUTS[name]:
            (self.project / path).unlink(missing_ok=True)

    def demand_whole_or_absent(self, name: str) -> None:
        """Each output of a stage must be right to the byte, or not there; timings must be complete."""
        for path in OUTS[name]:
            file = self.project / path
            if not file.exists():
                continue
            if name != "benchmark":
                demand(file.read_bytes() == self.expected[path], f"{path} is there by half or wrong")
            elif path.suffix == ".json":
                json.loads(file.read_text())

    def demand_result(self, name: str) -> None:
        """Run a stage undisturbed: it must succeed with the expected bytes, and leave nothing else."""
        ended = self.run(name)
        demand(ended.code == 0, f"{name} fails when it is run again: {ended.errors}")
        missing = [str(path) for path in OUTS[name] if not (self.project / path).exists()]
        demand(not missing, f"{missing} missing after success")
        self.demand_whole_or_absent(name)
        demand(not (self.project / paths.TRAIN_SNAPSHOTS).exists(), "the state of the training is still there")
        orphans = [str(path) for path in self.project.glob("m*/.*.tmp")]
        demand(not orphans, f"temporary files are left: {orphans}")


# Kills


def kill_at_random_moments(lab: Laboratory, number: signal.Signals, times: int, slowest: list[float]) -> int:
    """Kill the training up to `times` times, each time it is started again; returns how often it was hit."""
    lab.restore()
    lab.remove_outs("train")
    hits = 0
    for _ in range(times):
        process = lab.start("train")
        time.sleep(lab.random.uniform(0, lab.seconds_of["train"]))
        sent = time.monotonic()
        os.kill(process.pid, number)
        ended = process.wait()
        lab.demand_whole_or_absent("train")
        if ended.code == 0:
            break
        hits += 1
        if number != signal.SIGKILL:
            slowest.append(time.monotonic() - sent)
            demand(ended.code in (128 + number, -number), f"exit code {ended.code} after {number.name}")
            demand("Traceback" not in ended.errors, f"{number.name}: {ended.errors}")
    lab.demand_result("train")
    return hits


def traced(lab: Laboratory, name: str, *options: str) -> Ended:
    """Run a stage under strace, which is there before the stage does anything."""
    process = lab.start(name, prepare=lambda: os.kill(os.getpid(), signal.SIGSTOP))
    os.waitpid(process.pid, os.WUNTRACED)
    command = ["strace", "-f", "-e", f"trace={CALLS}", "-o", os.devnull, *options, "-p", str(process.pid)]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    attached = "attached" in tracer.stderr.readline()
    os.kill(process.pid, signal.SIGCONT)
    ended = process.wait()
    tracer.communicate()
    demand(attached, "strace cannot attach")
    return ended


def calls_of(lab: Laboratory, name: str) -> list[tuple[str, int]]:
    """What an undisturbed stage does to the project's files: each call, and which one of its kind it is."""
    lab.restore()
    lab.remove_outs(name)
    log = lab.folder / "calls"
    demand(traced(lab, name, "-y", "-o", str(log)).code == 0, f"{name} fails under strace")
    made: Counter[str] = Counter()
    calls = []
    for line in log.read_text().splitlines():
        if call := re.match(r"\d+ +(\w+)\(", line):
            made[call[1]] += 1
            if f"<{lab.project}" in line or re.search(r'\("(?!/)', line):  # not the logs, not /tmp
                calls.append((call[1], made[call[1]]))
    return calls


def kill_at_call(lab: Laboratory, call: str, number: int) -> int:
    """Kill the training as it makes its `number`-th call of a kind."""
    lab.restore()
    lab.remove_outs("train")
    ended = traced(lab, "train", "-e", f"inject={call}:signal=KILL:when={number}")
    lab.demand_whole_or_absent("train")
    lab.demand_result("train")
    return int(ended.code == -signal.SIGKILL)


def kill_under_dvc(lab: Laboratory, whom: str, number: signal.Signals) -> int:
    """Kill the stage, `dvc` alone, or their whole session while `dvc repro` trains; then repro until it succeeds."""
    lab.restore()
    command = ("dvc", "repro", "--force", "--single-item", "train")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    dvc = subprocess.Popen(
        command,
        cwd=lab.project,
        env={**os.environ, "PATH": path, "DVC_NO_ANALYTICS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while dvc.poll() is None and not stages_of(dvc.pid):
        time.sleep(0.01)
    time.sleep(lab.random.uniform(0, 5))
    victims = stages_of(dvc.pid)
    if whom == "session":
        victims.append(dvc.pid)
    elif whom == "dvc":
        victims = [dvc.pid]
    hit = dvc.poll() is None and bool(victims)
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
    dvc.wait()
    lab.demand_whole_or_absent("train")
    for _ in range(60):
        done = run(lab.project, *command)
        if done.returncode == 0:
            break
        demand("another train is running (pid " in done.stderr, f"dvc repro fails: {done.stderr}")
        time.sleep(1)
    demand(done.returncode == 0, "dvc repro never succeeds again")
    demand(not stages_of(dvc.pid), "an orphan is still running beside the success")
    lab.demand_whole_or_absent("train")
    demand(not (lab.project / paths.TRAIN_SNAPSHOTS).exists(), "the state of the training is still there")
    return int(hit)


def stages_of(session: int) -> list[int]:
    """The process ids of the stages that run in a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z" and b"stages." in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


# Faults


def demand_orderly(lab: Laboratory, name: str, ended: Ended) -> int:
    """A stage that met a fault has failed with one line, or the fault has done no harm; returns 1 for a failure."""
    lab.demand_whole_or_absent(name)
    if ended.code == 0:
        demand(all((lab.project / path).exists() for path in OUTS[name]), f"{name} succeeds without its outputs")
        return 0
    demand(ended.code in (1, 2), f"{name}: exit code {ended.code}: {ended.errors}")
    demand(len(ended.errors.splitlines()) == 1, f"{name}: not one line: {ended.errors}")
    demand(ended.errors.startswith(f"{name}: "), ended.errors)
    return 1


def fault(lab: Laboratory, name: str, meet: Callable[[], Ended]) -> int:
    """Let a stage meet a fault, then run it without; returns 1 when the fault made it fail."""
    lab.restore()
    lab.remove_outs(name)
    ended = meet()
    lab.demand_whole_or_absent(name)
    if ended.code == 0:
        missing = [str(path) for path in OUTS[name] if not (lab.project / path).exists()]
        demand(not missing, f"{name} succeeds without {missing}")
        return 0
    demand(ended.code in (1, 2), f"{name}: exit code {ended.code}: {ended.errors}")
    demand(len(ended.errors.splitlines()) == 1, f"{name}: not one line: {ended.errors}")
    demand(ended.errors.startswith(f"{name}: "), ended.errors)
    if name in ("teach", "train"):
        lab.demand_result(name)
    return 1


def size_limit(lab: Laboratory, name: str) -> Ended:
    """No file may grow beyond a random number of bytes (EFBIG), small numbers and large ones alike."""
    largest = max(len(lab.expected[path]) for path in OUTS[name])
    limit = int(2 ** lab.random.uniform(0, largest.bit_length()))
    return lab.run(name, prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))


def file_system(lab: Laboratory, name: str, kind: str) -> Ended:
    """A file system of its own over a folder that the stage writes to: "full" (ENOSPC) or "read-only" (EROFS)."""
    folders = [*sorted({(lab.project / path).parent for path in OUTS[name]}), lab.project / ".state"]
    over = lab.random.choice(folders)
    there = {file: file.read_bytes() for file in over.iterdir() if file.is_file()}
    page = 4096
    room = lab.random.randrange(page, page + 2 * sum(len(lab.expected[path]) for path in OUTS[name]), page)
    room += sum(page + len(content) for content in there.values())
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={room}", "none", over], check=True)
    try:
        for file, content in there.items():
            file.write_bytes(content)
        if kind == "read-only":
            subprocess.run(["mount", "-o", "remount,ro", over], check=True)
        ended = lab.run(name)
        lab.demand_whole_or_absent(name)
        written = {file: file.read_bytes() for file in over.iterdir() if file.is_file()}
    finally:
        subprocess.run(["umount", over], check=True)
    for file, content in written.items():
        file.write_bytes(content)
    return ended


# Corruptions


def flipped(content: bytes, lab: Laboratory) -> bytes:
    """One bit is another."""
    damaged = bytearray(content)
    damaged[lab.random.randrange(len(content))] ^= 1 << lab.random.randrange(8)
    return bytes(damaged)


def cut(content: bytes, lab: Laboratory) -> bytes:
    """The end is missing."""
    return content[: lab.random.randrange(len(content))]


def emptied(_content: bytes, _lab: Laboratory) -> bytes:
    """Nothing is left."""
    return b""


class Bomb:
    """When it is unpickled, it leaves a file behind."""

    def __reduce__(self) -> tuple:
        return Path.touch, (Path("exploded"),)


def pickled(_content: bytes, _lab: Laboratory) -> bytes:
    """Code in the place of data."""
    return pickle.dumps(Bomb())


DAMAGES = (flipped, cut, emptied, pickled)


def corruption(lab: Laboratory, path: Path, damage: Callable[[bytes, Laboratory], bytes] | None) -> int:
    """Damage an artefact, or put that of the other run in its place (None), and run the stage that reads it."""
    lab.restore()
    reader, maker = READERS[path]
    lab.remove_outs(reader)
    damaged = damage(lab.expected[path], lab) if damage else (lab.other / path).read_bytes()
    (lab.project / path).write_bytes(damaged)
    ended = lab.run(reader)
    demand(not (lab.project / "exploded").exists(), f"{path}: code was run")
    if ended.code == 0:  # the damage is harmless when the result is right to the byte
        lab.demand_whole_or_absent(reader)
        demand(reader != "benchmark", f"{path}: {reader} took what is not right")
        return 1
    demand(ended.code == 2, f"{path}: {reader} ends with exit code {ended.code}: {ended.errors}")
    demand(len(ended.errors.splitlines()) == 1, f"{path}: not one line: {ended.errors}")
    demand(str(path) in ended.errors or path == paths.PROGRAMS, f"{path} is not named: {ended.errors}")
    demand(f"run: dvc repro --force {maker}" in ended.errors, f"{path}: {maker} is not named: {ended.errors}")
    return 1


def corruption_of_snapshot(lab: Laboratory, damage: Callable[[bytes, Laboratory], bytes]) -> int:
    """Kill the training, damage its newest snapshot, and let it go on."""
    lab.restore()
    lab.remove_outs("train")
    process = lab.start("train")
    snapshots: list[Path] = []
    while not snapshots:
        snapshots = sorted((lab.project / paths.TRAIN_SNAPSHOTS).glob("epoch-*"))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    newest = max((lab.project / paths.TRAIN_SNAPSHOTS).glob("epoch-*"))
    newest.write_bytes(damage(newest.read_bytes(), lab))
    lab.demand_result("train")
    demand(not (lab.project / "exploded").exists(), "the snapshot's code was run")
    return 1


def corruption_that_verify_finds(lab: Laboratory, damage: Callable[[bytes, Laboratory], bytes]) -> int:
    """Damage any file that DVC tracks or caches, and let `make verify` find it."""
    lab.restore()
    files = list(lab.expected)
    files += [path.relative_to(lab.project) for path in lab.project.glob(".dvc/cache/files/md5/*/*")]
    path = lab.random.choice(sorted(files))
    content = (lab.project / path).read_bytes()
    (lab.project / path).chmod(0o644)
    (lab.project / path).write_bytes(damage(content, lab))
    done = run(lab.project, sys.executable, "-m", "tools.verify")
    (lab.project / path).write_bytes(content)
    demand(done.returncode == 1, f"verify does not mind {path}: {done.stdout}{done.stderr}")
    demand(f"verify: {path}: expected MD5 " in done.stderr, f"verify does not name {path}: {done.stderr}")
    return 1


# The campaign


Trial = tuple[str, str, Callable[[], int]]  # kind, what exactly, and a function that returns how often it happened


def kills(lab: Laboratory, slowest: list[float]) -> Iterator[Trial]:
    """Every trial that kills."""
    signals = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
    for number in signals * 10:
        yield "kill", f"{number.name} at random moments", partial(kill_at_random_moments, lab, number, 5, slowest)
    for whom in ("stage", "dvc", "session"):
        for number in signals[:2] * 2:
            yield "kill", f"{number.name} of the {whom} under DVC", partial(kill_under_dvc, lab, whom, number)
    if lab.strace:
        for call, number in calls_of(lab, "train"):
            yield "kill", "SIGKILL at the N-th call, every N", partial(kill_at_call, lab, call, number)


def faults(lab: Laboratory) -> Iterator[Trial]:
    """Every trial in which a call fails."""

    def trial(what: str, name: str, meet: Callable[[], Ended]) -> Trial:
        return "fault", what, partial(fault, lab, name, meet)

    for name in lab.stages:
        for _ in range(3 if name == "quantize" else 8):
            yield trial("limit on the size of files", name, partial(size_limit, lab, name))
        if os.geteuid() == 0:
            for _ in range(2 if name in SLOW else 6):
                yield trial("full file system", name, partial(file_system, lab, name, "full"))
            yield trial("read-only file system", name, partial(file_system, lab, name, "read-only"))
        if lab.strace:
            for call, number in calls_of(lab, name):
                errors = ("ENOSPC", "EIO")
                for error in errors if name not in SLOW else errors[number % 2 :][:1]:
                    meet = partial(traced, lab, name, "-e", f"inject={call}:error={error}:when={number}")
                    yield trial(f"{error} at the N-th call, every N", name, meet)


def corruptions(lab: Laboratory) -> Iterator[Trial]:
    """Every trial with a damaged file."""
    for path in (path for path, (reader, _) in READERS.items() if reader in lab.stages):
        yield "corruption", "file of another run", partial(corruption, lab, path, None)
        for damage in DAMAGES:
            for _ in range(12 if damage in (flipped, cut) else 1):
                yield "corruption", f"artefact {damage.__name__}", partial(corruption, lab, path, damage)
    for damage in DAMAGES * 3:
        yield "corruption", f"snapshot {damage.__name__}", partial(corruption_of_snapshot, lab, damage)
        yield "corruption", f"file {damage.__name__}, make verify", partial(corruption_that_verify_finds, lab, damage)


def main(seconds: float, seed: int, stages: list[str]) -> int:
    """Run the trials in random order until the time is over; print the counts; returns the exit code."""
    begin = time.monotonic()
    counts: dict[str, Counter[str]] = {"kill": Counter(), "fault": Counter(), "corruption": Counter()}
    broken: list[str] = []
    slowest: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        lab = Laboratory(Path(folder), seed, stages)
        trials = [*kills(lab, slowest), *faults(lab), *corruptions(lab)]
        lab.random.shuffle(trials)
        print(f"{len(trials)} trials are prepared, after {time.monotonic() - begin:.0f} s; seed {seed}", flush=True)
        done = 0
        for kind, what, trial in tqdm(trials, disable=None, leave=False):
            if time.monotonic() - begin > seconds:
                break
            try:
                counts[kind][what] += trial()
            except Lost as lost:
                broken.append(f"{what}: {lost}")
                print(f"LOST: {broken[-1]}", flush=True)
            done += 1
    for kind, each in counts.items():
        print(f"{each.total():5} x {kind}")
        for what, times in sorted(each.items()):
            print(f"      {times:5} x {what}")
    print(f"{done} of {len(trials)} trials in {time.monotonic() - begin:.0f} s, {len(broken)} with something lost")
    if slowest:
        print(f"SIGTERM and SIGINT ended the stage within {max(slowest):.2f} s")
    return 1 if broken else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Kill, fault and corrupt the pipeline, and demand the same bytes.")
    parser.add_argument("--seconds", type=float, default=3600, help="no trial begins after this time")
    parser.add_argument("--seed", type=int, default=1, help="of the order and of the random moments and places")
    parser.add_argument("--stages", nargs="+", choices=list(OUTS), default=list(OUTS), help="in this order")
    options = parser.parse_args()
    sys.exit(main(options.seconds, options.seed, options.stages))
