"""Call the C source from Python. Imports neither torch nor ExecuTorch.

The shared library is compiled for this machine's processor when it is first needed and kept in `.state`, never in
DVC's cache: it belongs to a machine. Calls go through cffi, which costs 0.15 microseconds less than ctypes.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cffi
import numpy as np
from numpy.typing import NDArray

from armdigits.core import files, paths
from armdigits.core.errors import BadInput
from armdigits.measure import host
from armdigits.program import toolchain

if TYPE_CHECKING:
    from torch import Tensor

PIXELS, CLASSES = 784, 10
FLAGS = (*toolchain.OPTIMISE, "-march=native", "-shared", "-fPIC", "-g0")
BATCHES = f"""#include "digits.h"
void digits_batch(const uint8_t *images, long count, float *logits) {{
  for (long i = 0; i < count; i++) digits_logits(images + {PIXELS} * i, logits + {CLASSES} * i);
}}
void digits_batch_float(const float *images, long count, float *logits) {{
  for (long i = 0; i < count; i++) digits_logits_float(images + {PIXELS} * i, logits + {CLASSES} * i);
}}
"""
DECLARED = """
void digits_batch(uintptr_t images, long count, uintptr_t logits);
void digits_batch_float(uintptr_t images, long count, uintptr_t logits);
"""  # addresses as integers: data_ptr() gives one, and cffi converts an integer faster than a pointer


class CProgram:
    """The C source, compiled and loaded: `program(images)` gives logits."""

    def __init__(self, library: Path) -> None:
        """Load a library that `build` made."""
        interface = cffi.FFI()
        interface.cdef(DECLARED)
        self._library: Any = interface.dlopen(str(library.resolve()))

    def on_tensors(self, float_pixels: bool = True) -> Callable[["Tensor"], "Tensor"]:
        """A function from a contiguous tensor [N, 1, 28, 28] to logits float32 [N, 10], without checks or copies.

        Args:
            float_pixels: whether the pixels are float32 in [0, 1], else uint8.
        """
        from torch import empty

        library = self._library
        call = library.digits_batch_float if float_pixels else library.digits_batch

        # cffi unloads a library that nothing refers to, with the code that `call` points to.
        def forward(images: "Tensor", _library: Any = library) -> "Tensor":
            count = images.shape[0]
            logits = empty(count, CLASSES)  # a tuple would cost 0.7 microseconds more
            call(images.data_ptr(), count, logits.data_ptr())
            return logits

        return forward

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """The logits float32 [N, 10] of images [N, ...] of 784 pixels each: uint8, or float32 in [0, 1].

        Raises:
            BadInput: the images have another type, shape or range.
        """
        if images.dtype not in (np.uint8, np.float32) or images.ndim < 2 or images[:1].size not in (0, PIXELS):
            raise BadInput(f"images: expected uint8 or float32 [N, 28, 28], got {images.dtype} {list(images.shape)}")
        if images.dtype == np.float32 and images.size and not (images.min() >= 0 and images.max() <= 1):
            raise BadInput("images: expected pixels from 0 to 1 (pixel / 255) and no NaN")
        images = np.ascontiguousarray(images)
        logits = np.empty((len(images), CLASSES), np.float32)
        call = self._library.digits_batch if images.dtype == np.uint8 else self._library.digits_batch_float
        call(images.ctypes.data, len(images), logits.ctypes.data)
        return logits


def read_c_program() -> CProgram:
    """Load the C source that `export` wrote, compiled for this machine.

    Raises:
        BadInput: the source is missing.
        Failure: there is no compiler, or it fails.
    """
    return CProgram(build())


def build() -> Path:
    """The shared library of the source that `export` wrote; compiled unless there is one already.

    Raises: as `read_c_program`.
    """
    written = {path.name: files.read_bytes(path, "export").decode() for path in (paths.C_HEADER, paths.C_SOURCE)}
    source = {**written, "batches.c": BATCHES}
    cpu, features = host.processor()
    parts = (sorted(source.items()), FLAGS, toolchain.version(), cpu, sorted(features))
    key = files.sha256(repr(parts).encode())[:16]
    library = paths.C_LIBRARIES / f"{key}.so"
    if library.exists():
        return library
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toolchain.write(source, folder)
        toolchain.compile_files([folder / "digits.c", folder / "batches.c"], folder / "out.so", FLAGS)
        content = (folder / "out.so").read_bytes()
    for path in paths.C_LIBRARIES.glob("*.so"):  # of an older source
        path.unlink(missing_ok=True)
    files.write_bytes(library, content)
    return library
