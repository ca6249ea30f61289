"""Compile the C source for every target with one compiler: clang, from the package `ziglang`.

The package holds clang, linkers and the headers of all targets, so no other compiler is needed and every machine
compiles with the same one (https://ziglang.org, `zig cc`).
"""

import importlib.metadata
import importlib.util
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from armdigits.core.errors import Failure
from armdigits.csource.emulate import STACK_BYTES

ENTRY = "digits_logits"
OPTIMISE = ("-std=c99", "-O3")  # a target's flags can replace it: loops that are unrolled take much of a small flash
BARE = ("-ffreestanding", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", "-fomit-frame-pointer", "-g0")
LONGEST = 300  # seconds for one call of the compiler; the first one for a target compiles its support library
# This machine by its name: without one, zig takes the system's headers, which may not fit. 2.28 is the oldest C library
# that the pinned packages run with.
_ARCHITECTURE = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
HERE = ("-target", f"{_ARCHITECTURE}-{'macos' if sys.platform == 'darwin' else 'linux-gnu.2.28'}")


@dataclass(frozen=True)
class Target:
    """A processor to compile for.

    Attributes:
        description: for people.
        machine: what runs the result, a name of `armdigits.csource.emulate`.
        flags: of the compiler.
    """

    description: str
    machine: str
    flags: tuple[str, ...]


def _elf(triple: str, cpu: str, *more: str) -> tuple[str, ...]:
    return ("-target", triple, f"-mcpu={cpu}", f"-Wl,-e,{ENTRY}", *more)


TARGETS = {
    "x86_64": Target(
        "x86-64, baseline (SSE2)", "x86_64", _elf("x86_64-freestanding-none", "x86_64", "-nostdlib", "-fno-pic")
    ),
    "aarch64_dotprod": Target(
        "aarch64 with dot product (Neoverse N1, Cortex-A76)",
        "aarch64",
        _elf("aarch64-freestanding-none", "neoverse_n1", "-nostdlib"),
    ),
    "aarch64": Target(
        "aarch64 without dot product (Cortex-A53, Cortex-A72)",
        "cortex-a53",
        _elf("aarch64-freestanding-none", "cortex_a53", "-nostdlib"),
    ),
    "cortex_m4": Target("Cortex-M4 with FPU", "cortex-m4", _elf("thumb-freestanding-eabihf", "cortex_m4+vfp4d16sp")),
    "cortex_m0plus": Target(
        "Cortex-M0+, floating point in software", "cortex-m0", _elf("thumb-freestanding-eabi", "cortex_m0plus", "-Os")
    ),
    "wasm32": Target(
        "WebAssembly with SIMD",
        "wasm32",
        (
            *("-target", "wasm32-freestanding", "-mcpu=generic+simd128", "-nostdlib"),
            *(
                "-Wl,--no-entry",
                f"-Wl,--export={ENTRY}",
                "-Wl,--export=__stack_pointer",
                f"-Wl,-z,stack-size={STACK_BYTES}",
            ),
        ),
    ),
}


def compile_target(source: Mapping[str, str], target: Target) -> bytes:
    """The linked program of `digits.c` for a target, optimised: an ELF file, or a WebAssembly module.

    Raises:
        Failure: as `compile_files`.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(source, folder)
        compile_files([folder / "digits.c"], folder / "out", [*OPTIMISE, *BARE, *target.flags])
        return (folder / "out").read_bytes()


def write(source: Mapping[str, str], folder: Path) -> None:
    """Write texts into a folder by their names."""
    for name, text in source.items():
        (folder / name).write_text(text, "utf-8")


def installed() -> bool:
    """Whether there is a compiler."""
    return importlib.util.find_spec("ziglang") is not None


def version() -> str:
    """The version of the compiler's package; empty where there is none."""
    return importlib.metadata.version("ziglang") if installed() else ""


def compile_files(files: Sequence[Path], output: Path, flags: Sequence[str]) -> None:
    """Call the compiler.

    Raises:
        Failure: there is no compiler, or it fails; one line.
    """
    if not installed():
        raise Failure("ziglang: no compiler, as the package is not installed; run: pip install ziglang")
    command = [sys.executable, "-m", "ziglang", "cc", *flags, *map(str, files), "-o", str(output)]
    try:
        done = subprocess.run(
            command, capture_output=True, encoding="utf-8", errors="replace", timeout=LONGEST, check=False
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"ziglang: no result after {LONGEST} seconds") from None
    if done.returncode:
        lines = done.stderr.splitlines()
        reason = next((line for line in lines if "error" in line), lines[-1] if lines else "no reason given")
        raise Failure(f"ziglang: the compiler fails: {reason.strip()}")
