"""Run the C source on this machine and on every target, and compare its logits with those expected."""

import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from armdigits.csource import binding, emulate, toolchain

HOST = "this_machine"
BASELINE = "-mcpu=baseline"


@dataclass(frozen=True)
class Result:
    """One comparison.

    Attributes:
        equal, compared: numbers of logits.
        run: what the emulator measured; None on this machine.
    """

    equal: int
    compared: int
    run: emulate.Run | None = None


def run_everywhere(
    source: dict[str, str], images: NDArray[np.uint8], expected: NDArray[np.float32], emulated: int
) -> tuple[dict[str, Result], dict[str, str]]:
    """Compile and run the source on this machine and on each target.

    Args:
        source: the files by their names.
        images: uint8 [N, C, H, W].
        expected: float32 [N, outputs], the logits that they should give.
        emulated: how many of the images to run on an emulated target.

    Returns:
        The results by target, and for each target that was left out the package that is missing.

    Raises:
        Failure: the compiler is missing or fails.
    """
    left_out = {
        key: package for key, target in toolchain.TARGETS.items() if (package := emulate.missing(target.machine))
    }
    few, wanted = images[:emulated].transpose(0, 2, 3, 1).reshape(-1, images[0].size), expected[:emulated]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toolchain.write({**source, "counter.c": emulate.COUNTER_SOURCE}, folder)
        counter = folder / "counter.so"
        toolchain.compile_files([folder / "counter.c"], counter, ["-O2", *binding.SHARED])

        def emulate_target(target: toolchain.Target) -> Result:
            content = toolchain.compile_target(source, target)
            done = emulate.run(target.machine, content, few, expected.shape[1], counter)
            return Result(_equal(done.logits, wanted), wanted.size, done)

        # Compiler and emulators run outside of Python's lock. The slowest targets stand last in the table.
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            slowest_first = reversed([key for key in toolchain.TARGETS if key not in left_out])
            runs = {key: threads.submit(emulate_target, toolchain.TARGETS[key]) for key in slowest_first}
            here = threads.submit(_run_here, source, images, expected)
            results = {HOST: here.result()} | {key: runs[key].result() for key in toolchain.TARGETS if key in runs}
    return results, left_out


def _run_here(source: dict[str, str], images: NDArray[np.uint8], expected: NDArray[np.float32]) -> Result:
    """Both entries, for uint8 and for float32, compiled for this machine's baseline."""
    with tempfile.TemporaryDirectory() as name:
        library = Path(name, "digits.so")
        binding.compile_library(source, library, BASELINE)
        program = binding.CProgram(library)
        found = [program(inputs) for inputs in (images, images.astype(np.float32) / np.float32(255))]
    return Result(sum(_equal(logits, expected) for logits in found), 2 * expected.size)


def _equal(found: NDArray[np.float32], expected: NDArray[np.float32]) -> int:
    """How many numbers have the same bits."""
    return int((found.view(np.int32) == np.ascontiguousarray(expected).view(np.int32)).sum())
