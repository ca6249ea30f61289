"""What one thread of this CPU can reach: multiply-adds per second, and whether its int8 arithmetic is exact."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cffi

from armdigits.csource import toolchain

SOURCE = Path(__file__).with_name("limits.c")
FLAGS = (*toolchain.OPTIMISE, *toolchain.HERE, "-march=native", "-shared", "-fPIC", "-g0")
DECLARED = "const char *int8_instruction(void); int64_t multiply_float(int64_t); int64_t multiply_int8(int64_t);"
ROUNDS = 100_000  # of a kernel's loop, less than a millisecond
REPEATS = 200


@dataclass(frozen=True)
class Limits:
    """The most multiply-adds per second that one thread reached with all operands in registers.

    Attributes:
        fp32, int8: the rates; int8 with exact sums.
        instruction: which one multiplied the int8.
    """

    fp32: float
    int8: float
    instruction: str

    def rate(self, kind: str) -> float:
        """The rate for "fp32" or "int8"."""
        return {"fp32": self.fp32, "int8": self.int8}[kind]

    def __str__(self) -> str:
        return (
            f"limit: {self.fp32 / 1e9:.0f} G fp32 multiply-adds/s, {self.int8 / 1e9:.0f} G exact int8 ones "
            f"({self.instruction})"
        )


def measure() -> Limits:
    """Compile the kernels of limits.c for this CPU and time them.

    Raises:
        Failure: there is no compiler, or it fails, as for another CPU than x86-64 and aarch64.
    """
    with tempfile.TemporaryDirectory() as name:
        library = Path(name, "limits.so")
        toolchain.compile_files([SOURCE], library, FLAGS)
        interface = cffi.FFI()
        interface.cdef(DECLARED)
        kernels = interface.dlopen(str(library))
        instruction = interface.string(kernels.int8_instruction()).decode()
        return Limits(_best_rate(kernels.multiply_float), _best_rate(kernels.multiply_int8), instruction)


def _best_rate(kernel: Callable[[int], int]) -> float:
    best = 0.0
    for _ in range(REPEATS):
        start = time.perf_counter()
        done = kernel(ROUNDS)
        best = max(best, done / (time.perf_counter() - start))
    return best


def lacks_vnni(machine: dict[str, Any]) -> bool:
    """Whether this is an x86 CPU without the instructions that add int8 products exactly."""
    return machine["arch"] in ("x86_64", "AMD64") and "vnni" not in machine["features"]
