"""Load and run programs. Imports only what inference needs, and not the exporters, which take seconds to import."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

# Private, after torch, whose libraries it is linked with. The public `executorch.runtime` wraps this module, takes ten
# seconds to import, and has no switch for the number of threads.
from executorch.extension.pybindings import _portable_lib
from torch import Tensor

from armdigits.core import files, paths, records
from armdigits.core.errors import BadInput, stderr_muted
from armdigits.core.shape import Shape
from armdigits.data.dataset import pixels_of

Forward = Callable[[Tensor], Tensor]  # images float32 [N, C, H, W] -> logits float32 [N, classes]

MAGIC = b"ET12"  # file identifier of ExecuTorch's program flatbuffer, at bytes 4 to 8
RUN_QUANTIZE = "run: dvc repro --force quantize"


def use_threads(count: int) -> None:
    """Set the number of XNNPACK's threads in this process. Call it before a program is loaded."""
    with stderr_muted():
        _portable_lib._unsafe_reset_threadpool(count)


class Loaded(NamedTuple):
    """A program in the runtime.

    Attributes:
        forward: the function that it computes; each call returns new memory.
        view: the same in 0.9 of the time at batch 1, without a copy. The result is memory of the runtime: the next call
            of either function overwrites it, and it is freed with the two functions.
        input_shape: of the largest input.
    """

    forward: Forward
    view: Forward
    input_shape: tuple[int, ...]


def load(content: bytes) -> Loaded:
    """Load a program with one input and one output, without any check.

    Raises:
        RuntimeError: the runtime refuses the bytes. Damaged bytes can also crash the process.
    """
    with stderr_muted():
        method = _portable_lib._load_program_from_buffer(content).load_method("forward")

    # The runtime reads the bytes at each call without holding a reference to them, so the functions hold one.
    def forward(images: Tensor, _content: bytes = content) -> Tensor:
        logits: Tensor = method.call((images,))[0]
        return logits

    def view(images: Tensor, _content: bytes = content) -> Tensor:
        logits: Tensor = method.call((images,), clone_outputs=False)[0]
        return logits

    return Loaded(forward, view, tuple(method.method_meta().input_tensor_meta(0).sizes()))


class Program:
    """A loaded `.pte` file: `program(images)` gives logits.

    The runtime checks neither its file nor its input: a damaged file can crash the process, an image of 14x56 pixels
    passes for one of 28x28, and an int8 program turns NaN into a plausible digit. This class checks both.

    Attributes:
        shape: of an image.
        max_batch: the largest number of images per call.
        forward, view: the calls without the checks, for contiguous images that pass `check`; see `Loaded`.
    """

    def __init__(self, content: bytes, name: str | Path) -> None:
        """Load the bytes of a program; `name` appears in the messages.

        Raises:
            BadInput: the bytes are not a complete ExecuTorch program for images.
        """
        _check_extent(content, name)
        try:
            self.forward, self.view, (self.max_batch, *shape) = load(content)
        except RuntimeError as error:
            raise BadInput(
                f"{name}: the runtime cannot load it ({str(error).splitlines()[0]}); {RUN_QUANTIZE}"
            ) from None
        if len(shape) != 3:
            raise BadInput(
                f"{name}: expected a program for images [channels, height, width], found {shape}; {RUN_QUANTIZE}"
            )
        self.shape: Shape = (shape[0], shape[1], shape[2])

    def __call__(self, images: Tensor) -> Tensor:
        """The logits float32 [N, classes] of images float32 [N, *shape] in [0, 1], 1 <= N <= `max_batch`.

        Raises:
            BadInput: as `check`.
        """
        self.check(images)
        return self.forward(images.contiguous())

    def check(self, images: Tensor) -> None:
        """Raise BadInput when the images have another type, shape or range than the program takes."""
        shape = images.shape
        if images.dtype is not torch.float32 or shape[1:] != self.shape or not 0 < shape[0] <= self.max_batch:
            raise BadInput(
                f"images: expected float32 [1 to {self.max_batch}, {str(list(self.shape))[1:]}, "
                f"got {str(images.dtype).removeprefix('torch.')} {list(shape)}"
            )
        smallest, largest = torch.aminmax(images)
        low, high = smallest.item(), largest.item()
        if not (low >= 0 and high <= 1):  # a comparison with NaN is false
            raise BadInput(f"images: expected pixels from 0 to 1 (pixel / 255) and no NaN, got {low:.4g} to {high:.4g}")

    def logits(self, images: Tensor) -> Tensor:
        """The logits float32 [N, classes] of any number of images uint8 [N, *shape], or their pixels float32.

        They are computed in batches of at most `max_batch`.

        Raises:
            BadInput: as `check`.
        """
        logits, start = torch.empty(0), 0
        for batch in images.split(self.max_batch):
            pixels = pixels_of(batch) if batch.dtype == torch.uint8 else batch
            self.check(pixels)
            found = self.view(pixels.contiguous())  # copied below, before the next call overwrites it
            if start == 0:
                logits = found.new_empty(len(images), found.shape[1])
            logits[start : start + len(batch)] = found
            start += len(batch)
        return logits


def write_programs(programs: Mapping[Path, bytes], weights_sha256: str, data: records.Provenance) -> None:
    """Write the programs, then the record with their digests, that of the weights, and what the data were."""
    for path, content in programs.items():
        files.write_bytes(path, content)
    digests = {path.name: files.sha256(content) for path, content in programs.items()}
    record = records.Programs(
        format=2,
        weights_sha256=weights_sha256,
        programs_sha256=digests,
        shape=data.shape,
        reading=data.reading,
        classes=data.classes,
    )
    records.write(paths.PROGRAM_RECORD, record)


def read_program(path: Path, weights_sha256: str | None = None) -> Program:
    """Load a program that `quantize` wrote.

    Raises:
        BadInput: as `read_content` or `Program`, or it is one for images of another shape than its record says.
    """
    program = Program(read_content(path, weights_sha256), path)
    expected = records.read(paths.PROGRAM_RECORD, records.Programs, "quantize").shape
    if program.shape != expected:
        raise BadInput(
            f"{path}: for images {list(program.shape)}, but its record says {list(expected)}; {RUN_QUANTIZE}"
        )
    return program


def read_content(path: Path, weights_sha256: str | None = None) -> bytes:
    """Read the bytes of a program that `quantize` wrote, checked against its record.

    Args:
        path: the program.
        weights_sha256: of the weights that it must have been made from; None accepts any.

    Raises:
        BadInput: the program or the record is missing, they do not match, or it was made from other weights.
    """
    record = records.read(paths.PROGRAM_RECORD, records.Programs, "quantize")
    content = files.read_verified(path, "quantize", record.digest(path), paths.PROGRAM_RECORD)
    if weights_sha256 is not None and record.weights_sha256 != weights_sha256:
        raise BadInput(f"{path}: made from another checkpoint than {paths.MODEL}; {RUN_QUANTIZE}")
    return content


def _check_extent(content: bytes, name: str | Path) -> None:
    """Compare the length with the header's (layout: `_ExtendedHeader` in executorch/exir/_serialize/_program.py)."""
    if content[4:8] != MAGIC or content[8:12] != b"eh00":
        raise BadInput(f"{name}: not an ExecuTorch program of format {MAGIC.decode()}; {RUN_QUANTIZE}")
    program, start, segments = (int.from_bytes(content[at : at + 8], "little") for at in (16, 24, 32))
    expected = max(program, start + segments)
    if len(content) != expected:
        raise BadInput(f"{name}: expected {expected} bytes, found {len(content)}; {RUN_QUANTIZE}")
