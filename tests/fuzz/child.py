"""One reader in a process of its own, which reads many inputs within limits that the kernel enforces.

RLIMIT_DATA limits the memory of an input and RLIMIT_FSIZE its files; timers limit its time, and their signals end the
process. Programs that are started, files that are changed elsewhere and pickles are seen by Python's audit hook, which
also refuses other hosts: the kernel has no limit for them that holds for root as well.
"""

import errno
import faulthandler
import io
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from armdigits.core.errors import Failure, exit_on_failure
from tests.fuzz.mutations import MAX_BYTES, mutated

try:
    import atheris
except ImportError:  # an extra; without it, mutated seeds are all
    atheris = None

GB = 1 << 30
NAME = "fuzz"  # begins every line that a reader may print on standard error
MAX_LINE = 2000  # characters
INSTRUMENTED = ["armdigits", "stages", "PIL", "pillow_heif", "ruamel", "yaml", "json", "csv", "gzip", "http", "urllib3"]
CHANGES = {f"os.{name}" for name in ("chmod", "mkdir", "remove", "rename", "rmdir", "truncate")}
STARTS = {"os.exec", "os.posix_spawn", "os.system", "subprocess.Popen"}


@dataclass(frozen=True)
class Reader:
    """A reader of foreign bytes, and its limits.

    Attributes:
        seeds: makes the valid inputs.
        read: takes the bytes; it may answer, or raise a Failure or an OSError.
        placed: whether an input is a line with a path and the content of the file there.
        memory: bytes that one input may take.
        seconds: of the processor that one input may take.
        programs: that may be started.
    """

    seeds: Callable[[], list[bytes]]
    read: Callable[[bytes], object]
    placed: bool = False
    memory: int = GB
    seconds: float = 10
    programs: tuple[str, ...] = ()


class Broken(Exception):
    """A limit is exceeded, or something else is printed than the lines of a failure."""


class Folder:
    """The folder of a reader: what its processes leave for each other and for the one that starts them."""

    def __init__(self, path: Path) -> None:
        self.here = path / "here"  # the current folder of the reader
        self.seeds = path / "seeds"  # a file each, also for inputs that reached new code
        self.findings = path / "findings"  # two files each: the input, and what happened
        self.input = path / "input"  # that is read now, or was the last one
        self.output, self.errors = path / "output", path / "errors"  # what is printed about this input
        self.count = path / "count"

    def counted(self) -> tuple[int, int, float]:
        """How many inputs have been read, how many of them were not refused, and how many seconds that took."""
        if not self.count.exists():
            return 0, 0, 0.0
        inputs, answers, seconds = self.count.read_text("utf-8").split()
        return int(inputs), int(answers), float(seconds)

    def add(self, answers: int, seconds: float) -> None:
        """Count an input."""
        before = self.counted()
        self.count.write_text(f"{before[0] + 1} {before[1] + answers} {before[2] + seconds}", "utf-8")

    def note(self, what: str, text: str) -> None:
        """Write what happened with the last input; only the first input of each kind is kept."""
        path = self.findings / f"{self.findings.parent.name}-{what}"
        if not path.exists():
            path.write_bytes(self.input.read_bytes())
            path.with_name(f"{path.name}.txt").write_text(text, "utf-8", errors="backslashreplace")


@contextmanager
def instrumented() -> Iterator[None]:
    """Let atheris count the branches of the modules that are imported here."""
    if atheris:
        with redirect_stderr(io.StringIO()), atheris.instrument_imports(include=INSTRUMENTED):
            yield
    else:
        yield


def read_inputs(
    reader: Reader, run: Path, folder: Folder, seconds: float, seed: int, only: bytes | None = None
) -> NoReturn:
    """Read the seeds, then mutated ones, for some seconds, or `only` one input, in a copy of the folder `run`.

    Processes that died may have begun. Without atheris each input follows from its number and the seed.
    """
    code = 1
    try:
        for number, path in ((1, folder.output), (2, folder.errors)):
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND), number)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
        shutil.rmtree(folder.here, ignore_errors=True)
        shutil.copytree(run, folder.here)
        os.chdir(folder.here)
        tempfile.tempdir = str(folder.here)
        os.environ["NO_PROXY"] = "*"
        with instrumented():
            if not folder.seeds.exists():
                folder.seeds.mkdir()
                for number, content in enumerate(reader.seeds()):
                    (folder.seeds / f"{number:03}").write_bytes(content)
            seeds = [path.read_bytes() for path in sorted(folder.seeds.glob("???"))]
            reader.read(seeds[0])  # which must be valid; what it imports does not count
        judge = Judge(reader, folder)
        if only is not None:
            judge(only)
        else:
            (_guided if atheris else _unguided)(judge, seeds, seconds, seed)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _unguided(judge: "Judge", seeds: list[bytes], seconds: float, seed: int) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        number = judge.folder.counted()[0]
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - no secrets
        is_seed = number < len(seeds)
        judge(seeds[number] if is_seed else mutated(chance.choice(seeds), seeds, chance, judge.reader.placed))


def _guided(judge: "Judge", seeds: list[bytes], seconds: float, seed: int) -> None:
    """The same with libFuzzer, which keeps the inputs that reach new code and mutates these."""

    def mutate(content: bytes, size: int, number: int) -> bytes:
        chance = random.Random(number)  # noqa: S311 - no secrets
        if chance.random() < 0.5:
            return atheris.Mutate(content, size)
        return mutated(content, seeds, chance, judge.reader.placed)[:size]

    off = ["rss_limit_mb", "timeout", "len_control"]  # the limits are those of Judge, and so are the signals
    off += [f"handle_{name}" for name in ("abrt", "bus", "fpe", "ill", "int", "segv", "term", "xfsz")]
    options = {"max_total_time": max(1, round(seconds)), "seed": seed, "max_len": MAX_BYTES, **dict.fromkeys(off, 0)}
    arguments = [f"-{name}={value}" for name, value in options.items()]
    atheris.Setup([NAME, *arguments, str(judge.folder.seeds)], judge, custom_mutator=mutate)
    atheris.Fuzz()


class Judge:
    """Reads inputs, and notes what is wrong."""

    def __init__(self, reader: Reader, folder: Folder) -> None:
        self.reader, self.folder = reader, folder
        self._broken = ""  # what the audit hook has seen
        for number in (signal.SIGPROF, signal.SIGALRM):
            faulthandler.register(number, file=2, chain=True)  # says where, then ends the process
        faulthandler.enable(file=2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (reader.memory, reader.memory))
        sys.dont_write_bytecode = True
        sys.addaudithook(self._watch)

    def __call__(self, content: bytes) -> None:
        """Read one input."""
        begin, answers = time.monotonic(), 0
        self.folder.input.write_bytes(content)
        for number in (1, 2):
            os.ftruncate(number, 0)
        self._broken = ""
        try:
            self._limit(self.reader.memory, self.reader.seconds)
            answers = self._read(content)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            self._limit(100 * GB, seconds=0)  # none
            self.folder.note(_kind(error), traceback.format_exc(limit=-30))
        self._limit(100 * GB, seconds=0)
        self.folder.add(answers, time.monotonic() - begin)

    def _limit(self, memory: int, seconds: float) -> None:
        pages = int(Path("/proc/self/statm").read_text("utf-8").split()[5])
        resource.setrlimit(resource.RLIMIT_DATA, (pages * resource.getpagesize() + memory, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, 6 * seconds)  # for a FIFO or a server that says nothing

    def _read(self, content: bytes) -> bool:
        refused = False
        try:
            with exit_on_failure(NAME):
                try:
                    self.reader.read(content)
                except (Failure, OSError) as failure:
                    if _is_starved(failure) and "memory" not in str(failure):
                        raise Broken("more memory than allowed") from failure
                    raise
        except SystemExit as ended:
            if ended.code not in (1, 2):
                raise Broken(f"exit code {ended.code}") from None
            refused = True
        if self._broken:
            raise Broken(self._broken)
        lines = self.folder.errors.read_text("utf-8", errors="replace").split("\n")[:-1]
        if foreign := [line for line in lines if not line.startswith(f"{NAME}: ")]:
            raise Broken(f"prints itself: {foreign[0][:200]!a}")
        if long := [line for line in lines if len(line) > MAX_LINE]:
            raise Broken(f"a long line: {long[0][:200]!a}")
        lines += self.folder.output.read_text("utf-8", errors="replace").split("\n")
        if unprintable := [line for line in lines if not line.isprintable()]:
            raise Broken(f"a control character: {unprintable[0][:200]!a}")
        return not refused

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in STARTS and Path(os.fsdecode(arguments[0])).name not in self.reader.programs:
            self._refuse(f"starts a program: {arguments[0]}")
        elif event == "pickle.find_class":
            self._refuse("loads a pickle")
        elif event == "open" and isinstance(arguments[0], str | bytes) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
            self._check_place(Path(os.fsdecode(arguments[0])))
        elif event in CHANGES:
            for path in arguments:
                if isinstance(path, str | bytes | os.PathLike):
                    self._check_place(Path(os.fsdecode(path)).parent)  # not where a link leads
        elif event == "socket.getaddrinfo" and arguments[0] not in ("127.0.0.1", b"127.0.0.1"):
            raise OSError(errno.EHOSTUNREACH, "no other hosts in a test")

    def _check_place(self, path: Path) -> None:
        place = Path(os.path.realpath(path))
        if not place.is_relative_to(self.folder.here.parent) and place != Path(os.devnull):
            self._refuse(f"changes a file elsewhere: {place}")

    def _refuse(self, what: str) -> None:
        self._broken = what  # in case that the reader catches the exception
        raise Broken(what)


def _is_starved(error: BaseException | None) -> bool:
    """Whether memory ran out. A reader that says so has a limit of its own; others call the file damaged."""
    while error:
        if isinstance(error, MemoryError) or getattr(error, "errno", 0) == errno.ENOMEM:
            return True
        error = error.__context__
    return False


def _kind(error: BaseException) -> str:
    """The exception and its place in the project; what differs in one of these is another finding."""
    if isinstance(error, Broken):
        return re.sub(r"\W+", "-", str(error).partition(":")[0])
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if re.search("/(armdigits|stages)/", frame.filename)] or frames
    return f"{type(error).__name__}-{Path(own[-1].filename).stem}-{own[-1].lineno}"
