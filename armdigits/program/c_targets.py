"""Run the C source on this machine and on every target, and compare its logits with those expected."""

import ctypes
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from armdigits.measure import emulate
from armdigits.program import toolchain

HOST = "this_machine"
SHARED = ("-shared", "-fPIC", "-g0")


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
        images: uint8 [N, 28, 28].
        expected: float32 [N, outputs], the logits that they should give.
        emulated: how many of the images to run on an emulated target.

    Returns:
        The results by target, and for each target that was left out the package that is missing.

    Raises:
        Failure: the compiler is missing or fails.
    """
    pixels = images.reshape(len(images), -1)
    results, left_out = {}, {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toolchain.write({**source, "counter.c": emulate.COUNTER_SOURCE}, folder)
        counter = folder / "counter.so"
        toolchain.compile_files([folder / "counter.c"], counter, ["-O2", *SHARED])
        results[HOST] = _run_here(folder, pixels, expected)
        few, wanted = pixels[:emulated], expected[:emulated]
        for key, target in toolchain.TARGETS.items():
            if package := emulate.missing(target.machine):
                left_out[key] = package
                continue
            content = toolchain.compile_target(source, target)
            done = emulate.run(target.machine, content, few, expected.shape[1], counter)
            results[key] = Result(_equal(done.logits, wanted), wanted.size, done)
    return results, left_out


def _run_here(folder: Path, pixels: NDArray[np.uint8], expected: NDArray[np.float32]) -> Result:
    """Both entries, for uint8 and for float32, compiled for this machine's baseline."""
    library = folder / "digits.so"
    toolchain.compile_files([folder / "digits.c"], library, [*toolchain.OPTIMISE, *SHARED, "-mcpu=baseline"])
    functions = ctypes.CDLL(str(library))
    equal = 0
    for name, inputs in (
        ("digits_logits", pixels),
        ("digits_logits_float", pixels.astype(np.float32) / np.float32(255)),
    ):
        call = getattr(functions, name)
        logits = np.zeros_like(expected)
        for image, out in zip(inputs, logits, strict=True):
            call(ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(out.ctypes.data))
        equal += _equal(logits, expected)
    return Result(equal, 2 * expected.size)


def _equal(found: NDArray[np.float32], expected: NDArray[np.float32]) -> int:
    """How many numbers have the same bits."""
    return int((found.view(np.int32) == np.ascontiguousarray(expected).view(np.int32)).sum())
