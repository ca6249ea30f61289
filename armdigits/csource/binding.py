"""Call the C source from Python. Imports neither torch nor ExecuTorch.

The shared library is compiled for this machine's processor when it is first needed and kept in `.state`, never in
DVC's cache: it belongs to a machine. In a read-only project, it lies in a temporary folder. Calls go through cffi,
which costs 0.15 microseconds less than ctypes.
"""

import atexit
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cffi
import numpy as np
from numpy.typing import NDArray

from armdigits.core import files, paths, records
from armdigits.core.cpu import processor
from armdigits.core.errors import BadInput
from armdigits.core.shape import Shape
from armdigits.csource import toolchain

if TYPE_CHECKING:
    from torch import Tensor

RUN_EXPORT = "run: dvc repro --force export"
SHARED = (*toolchain.HERE, "-shared", "-fPIC", "-g0")
NATIVE = "-march=native"
BATCHES = """#include "digits.h"
int digits_classes(void) { return DIGITS_CLASSES; }
int digits_side(int axis) { return axis == 0 ? DIGITS_CHANNELS : axis == 1 ? DIGITS_HEIGHT : DIGITS_WIDTH; }
void digits_batch(const uint8_t *images, long count, float *logits) {
  for (long i = 0; i < count; i++) digits_logits(images + DIGITS_VALUES * i, logits + DIGITS_CLASSES * i);
}
void digits_batch_float(const float *images, long count, float *logits) {
  for (long i = 0; i < count; i++) digits_logits_float(images + DIGITS_VALUES * i, logits + DIGITS_CLASSES * i);
}
"""
# A tensor gives its address as an integer, an array as a pointer; each is passed fastest as what it is.
DECLARED = """
int digits_classes(void);
int digits_side(int axis);
void digits_batch({address} images, long count, {address} logits);
void digits_batch_float({address} images, long count, {address} logits);
"""


class CProgram:
    """The C source, compiled and loaded: `program(images)` gives logits.

    Attributes:
        shape: of an image.
    """

    def __init__(self, library: Path) -> None:
        """Load a library that `compile_library` made."""
        self._path, self._interface = library, cffi.FFI()
        self._library = _open(library, self._interface, "void *")
        self._classes: int = self._library.digits_classes()
        channels, height, width = map(self._library.digits_side, range(3))
        self.shape: Shape = (channels, height, width)

    def on_tensors(self, float_pixels: bool = True) -> Callable[["Tensor"], "Tensor"]:
        """A function from a contiguous tensor [N, *shape] to logits float32 [N, classes], without checks.

        Images in colour are copied, as in C the channels of a pixel come together.

        Args:
            float_pixels: whether the pixels are float32 in [0, 1], else uint8.
        """
        from torch import empty

        library, classes = _open(self._path, cffi.FFI(), "uintptr_t"), self._classes
        call = library.digits_batch_float if float_pixels else library.digits_batch
        grey = self.shape[0] == 1

        # cffi unloads a library that nothing refers to, with the code that `call` points to.
        def forward(images: "Tensor", _library: Any = library) -> "Tensor":
            count = images.shape[0]
            if not grey:
                images = images.permute(0, 2, 3, 1).contiguous()
            logits = empty(count, classes)  # a tuple would cost 0.7 microseconds more
            call(images.data_ptr(), count, logits.data_ptr())
            return logits

        return forward

    def on_arrays(self, float_pixels: bool = True) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
        """The same from a contiguous array [N, height, width, channels] to an array, which takes less time."""
        library, classes, address = self._library, self._classes, self._interface.from_buffer
        call = library.digits_batch_float if float_pixels else library.digits_batch

        def forward(images: NDArray[Any], _library: Any = library) -> NDArray[np.float32]:
            logits = np.empty((len(images), classes), np.float32)
            call(address(images), len(images), address(logits))
            return logits

        return forward

    def __call__(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """The logits float32 [N, classes] of images [N, *shape]: uint8, or float32 in [0, 1].

        Raises:
            BadInput: the images have another type, shape or range.
        """
        if images.dtype not in (np.uint8, np.float32) or images.shape[1:] != self.shape:
            expected = f"uint8 or float32 [N, {str(list(self.shape))[1:]}"
            raise BadInput(f"images: expected {expected}, got {images.dtype} {list(images.shape)}")
        if images.dtype == np.float32 and images.size and not (images.min() >= 0 and images.max() <= 1):
            raise BadInput("images: expected pixels from 0 to 1 (pixel / 255) and no NaN")
        return self.on_arrays(images.dtype == np.float32)(np.ascontiguousarray(images.transpose(0, 2, 3, 1)))


def _open(library: Path, interface: cffi.FFI, address: str) -> Any:
    """Load a library; its functions take addresses of the C type `address`."""
    interface.cdef(DECLARED.format(address=address))
    return interface.dlopen(str(library.resolve()))


def read_c_program() -> CProgram:
    """Load the C source that `export` wrote, compiled for this machine.

    Raises:
        BadInput: the source or its record is missing, they do not match, or it was made from another program or for
            images of another shape.
        Failure: there is no compiler, or it fails.
    """
    program = CProgram(build())
    expected = records.read(paths.PROGRAM_RECORD, records.Programs, "quantize").shape
    if program.shape != expected:
        found = f"for images {list(program.shape)}, but {paths.PROGRAM_RECORD} says {list(expected)}"
        raise BadInput(f"{paths.C_SOURCE}: {found}; {RUN_EXPORT}")
    return program


def build() -> Path:
    """The shared library of the source that `export` wrote; compiled unless there is one already.

    Raises: as `read_c_program`, except that the shape of the images is not compared.
    """
    source = _read_source()
    cpu = processor()
    parts = (
        sorted(source.items()),
        BATCHES,
        toolchain.OPTIMISE,
        NATIVE,
        SHARED,
        toolchain.version(),
        cpu.name,
        sorted(cpu.features),
    )
    key = files.sha256(repr(parts).encode())[:16]
    for library in paths.C_LIBRARIES.glob(f"{key}-*.so"):
        if library == _named(key, library):
            return library
    try:
        paths.C_LIBRARIES.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=paths.C_LIBRARIES) as folder:  # another process may build it as well
            compiled = Path(folder, "out.so")
            compile_library(source, compiled, NATIVE)
            library = compiled.replace(_named(key, compiled))
    except OSError:  # a read-only project
        kept = tempfile.TemporaryDirectory()
        atexit.register(kept.cleanup)
        library = Path(kept.name, "out.so")
        compile_library(source, library, NATIVE)
    for path in paths.C_LIBRARIES.glob("*.so"):
        if not path.name.startswith(key):  # of an older source
            with suppress(OSError):
                path.unlink()
    return library


def _named(key: str, library: Path) -> Path:
    """Where a library is kept, with the digest of its bytes in its name: a truncated one would crash the process."""
    try:
        return paths.C_LIBRARIES / f"{key}-{files.sha256(library.read_bytes())[:16]}.so"
    except OSError:
        return Path()


def compile_library(source: Mapping[str, str], library: Path, processor: str) -> None:
    """Compile `digits.c`, and the functions for batches, as a shared library for this machine.

    Args:
        source: `digits.c` and `digits.h` by their names.
        library: where to.
        processor: the compiler's option that names the processor.

    Raises:
        Failure: there is no compiler, or it fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toolchain.write({**source, "batches.c": BATCHES}, folder)
        sources = [folder / "digits.c", folder / "batches.c"]
        toolchain.compile_files(sources, library, [*toolchain.OPTIMISE, processor, *SHARED])


def _read_source() -> dict[str, str]:
    """The header and the source, checked against the record that `export` wrote with them."""
    source = {path: files.read_utf8(path, "export") for path in (paths.C_HEADER, paths.C_SOURCE)}
    record = records.read(paths.EXPORT_DETAILS, records.ExportDetails, "export")
    for path, text in source.items():
        expected, found = record.digest(path), files.sha256(text.encode())
        if found != expected:
            raise BadInput(
                f"{path}: expected SHA-256 {expected} (from {paths.EXPORT_DETAILS}), found {found}; {RUN_EXPORT}"
            )
    programs = records.read(paths.PROGRAM_RECORD, records.Programs, "quantize")
    if record.program_sha256 != programs.digest(paths.INT8_PROGRAM):
        raise BadInput(f"{paths.C_SOURCE}: made from another program than {paths.INT8_PROGRAM}; {RUN_EXPORT}")
    return {path.name: text for path, text in source.items()}
