"""Running a program: the few megabytes that inference needs, without the seconds that the exporters' import takes."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from executorch.extension.pybindings import _portable_lib  # after torch, whose libraries it is linked with
from torch import Tensor

from armdigits import files, paths
from armdigits.dataset import IMAGE_SHAPE
from armdigits.errors import BadInput

Forward = Callable[[Tensor], Tensor]

IMAGE = (1, *IMAGE_SHAPE)
MAGIC = b"ET12"  # file identifier of ExecuTorch's program flatbuffer, at bytes 4 to 8
AGAIN = "run: dvc repro --force quantize"


def use_threads(count: int) -> None:
    """Set the number of XNNPACK's threads in this process. Call it before a program is loaded."""
    with _stderr_muted():
        _portable_lib._unsafe_reset_threadpool(count)


def load(content: bytes) -> tuple[Forward, tuple[int, ...]]:
    """Load a program of one input and one output, without a check of ours.

    Returns:
        The function that it computes, and the shape of the largest input that it takes.

    Raises:
        RuntimeError: the runtime refuses the bytes. Damaged ones can also end the process.
    """
    with _stderr_muted():
        method = _portable_lib._load_program_from_buffer(content).load_method("forward")

    # The runtime reads the weights out of the bytes and holds no reference to them, so the function holds one.
    def forward(images: Tensor, _weights: bytes = content) -> Tensor:
        return method.call((images,))[0]

    return forward, tuple(method.method_meta().input_tensor_meta(0).sizes())


class Program:
    """A loaded `.pte` file: `program(images)` gives logits.

    The runtime trusts its file and its caller: a damaged file can end the process, an image of 14x56 pixels is
    taken for one of 28x28, and an int8 program answers NaN with a plausible digit. The checks are made here.

    Attributes:
        max_batch: the most images a call.
        forward: the call without the checks, for images that are contiguous and that `check` has passed.
    """

    def __init__(self, content: bytes, name: str | Path) -> None:
        """Load the bytes of a program; `name` stands in the messages.

        Raises:
            BadInput: the bytes are no complete ExecuTorch program, or one for other images.
        """
        _check_extent(content, name)
        try:
            self.forward, (self.max_batch, *shape) = load(content)
        except RuntimeError as error:
            raise BadInput(f"{name}: the runtime cannot load it ({str(error).splitlines()[0]}); {AGAIN}") from None
        if tuple(shape) != IMAGE:
            raise BadInput(f"{name}: expected a program for images [1, 28, 28], found {shape}; {AGAIN}")

    def __call__(self, images: Tensor) -> Tensor:
        """The logits float32 [N, 10] of images float32 [N, 1, 28, 28] in [0, 1], 1 <= N <= `max_batch`.

        Raises:
            BadInput: the images are not that.
        """
        self.check(images)
        return self.forward(images.contiguous())

    def check(self, images: Tensor) -> None:
        """Raise BadInput unless the images are what the program takes."""
        shape = images.shape
        if images.dtype is not torch.float32 or shape[1:] != IMAGE or not 0 < shape[0] <= self.max_batch:
            raise BadInput(
                f"images: expected float32 [1 to {self.max_batch}, 1, 28, 28], "
                f"got {str(images.dtype).removeprefix('torch.')} {list(shape)}"
            )
        darkest, brightest = torch.aminmax(images)
        low, high = darkest.item(), brightest.item()
        if not (low >= 0 and high <= 1):  # a comparison with NaN is false
            raise BadInput(f"images: expected pixels from 0 to 1 (pixel / 255) and no NaN, got {low:.4g} to {high:.4g}")

    def logits_of(self, images: Tensor) -> Tensor:
        """The logits [N, 10] of any number of images, in batches of at most `max_batch`."""
        return torch.cat([self(batch) for batch in images.split(self.max_batch)])


def write_programs(programs: dict[Path, bytes], weights_sha256: str) -> None:
    """Write the programs, then the record that ties each to its bytes and both to the checkpoint."""
    for path, content in programs.items():
        files.write_bytes(path, content)
    digests = {path.name: files.sha256(content) for path, content in programs.items()}
    files.write_json(paths.PROGRAMS, {"weights_sha256": weights_sha256, "programs_sha256": digests})


def read_program(path: Path, weights_sha256: str) -> Program:
    """Load a program that `quantize` made from the weights of the given digest.

    Raises:
        BadInput: it is missing, damaged, or was made from another checkpoint.
    """
    return Program(read_content(path, weights_sha256), path)


def read_content(path: Path, weights_sha256: str) -> bytes:
    """The bytes of such a program, which are what the record says. Raises as `read_program`."""
    record: dict[str, Any] = files.read_json(paths.PROGRAMS, "quantize")
    content = files.read_bytes(path, "quantize")
    expected = record.get("programs_sha256", {}).get(path.name)
    found = files.sha256(content)
    if found != expected:
        raise BadInput(f"{path}: expected SHA-256 {expected} (from {paths.PROGRAMS}), found {found}; {AGAIN}")
    if record.get("weights_sha256") != weights_sha256:
        raise BadInput(f"{path}: made from another checkpoint than {paths.MODEL}; {AGAIN}")
    return content


def _check_extent(content: bytes, name: str | Path) -> None:
    """Compare the length with the header's (layout: `_ExtendedHeader` in executorch/exir/_serialize/_program.py)."""
    if content[4:8] != MAGIC or content[8:12] != b"eh00":
        raise BadInput(f"{name}: not an ExecuTorch program of format {MAGIC.decode()}; {AGAIN}")
    program, start, segments = (int.from_bytes(content[at : at + 8], "little") for at in (16, 24, 32))
    expected = max(program, start + segments)
    if len(content) != expected:
        raise BadInput(f"{name}: expected {expected} bytes, found {len(content)}; {AGAIN}")


@contextmanager
def _stderr_muted() -> Iterator[None]:
    """Mute file descriptor 2: what the runtime's C++ code logs at its start has no switch."""
    keep = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(keep, 2)
        os.close(keep)
