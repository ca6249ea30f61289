"""Running a program: the few megabytes that inference needs, without the seconds that the exporters' import takes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from executorch.extension.pybindings import _portable_lib  # after torch, whose libraries it is linked with
from torch import Tensor

from armdigits import files, paths
from armdigits.dataset import IMAGE_SHAPE
from armdigits.errors import BadInput

MAGIC = b"ET12"  # file identifier of ExecuTorch's program flatbuffer, at bytes 4 to 8
AGAIN = "run: dvc repro --force quantize"


def use_threads(count: int) -> None:
    """Set the number of XNNPACK's threads in this process. Call it before a program is loaded."""
    with _stderr_muted():
        _portable_lib._unsafe_reset_threadpool(count)


class Program:
    """A loaded `.pte` file: `program(images)` gives logits.

    The runtime trusts its file and its caller: a damaged file can end the process, and images that do not lie in
    memory one after the other give wrong answers in silence. The checks are made here.
    """

    def __init__(self, content: bytes, name: str | Path) -> None:
        """Load the bytes of a program; `name` stands in the messages.

        Raises:
            BadInput: the bytes are no complete ExecuTorch program.
        """
        _check_extent(content, name)
        try:
            self._module = _portable_lib._load_for_executorch_from_buffer(content)
            shape = self._module.method_meta("forward").input_tensor_meta(0).sizes()
        except RuntimeError as error:
            raise BadInput(f"{name}: the runtime cannot load it ({str(error).splitlines()[0]}); {AGAIN}") from None
        if tuple(shape[1:]) != (1, *IMAGE_SHAPE):
            raise BadInput(f"{name}: expected a program for images [N, 1, 28, 28], found {list(shape)}; {AGAIN}")
        self._content = content  # the runtime reads the weights out of these bytes, it does not copy them
        self._forward = self._module.forward
        self.max_batch = shape[0]

    def __call__(self, images: Tensor) -> Tensor:
        """The logits float32 [N, 10] of images float32 [N, 1, 28, 28] in [0, 1], 1 <= N <= `max_batch`.

        Raises:
            BadInput: the images are not that.
        """
        count, *shape = images.shape or (0,)
        if images.dtype != torch.float32 or shape != [1, 28, 28] or not 1 <= count <= self.max_batch:
            raise BadInput(
                f"images: expected float32 [1 to {self.max_batch}, 1, 28, 28], "
                f"got {str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
            )
        return self._forward((images.contiguous(),))[0]

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
    record: dict[str, Any] = files.read_json(paths.PROGRAMS, "quantize")
    content = files.read_bytes(path, "quantize")
    expected = record.get("programs_sha256", {}).get(path.name)
    found = files.sha256(content)
    if found != expected:
        raise BadInput(f"{path}: expected SHA-256 {expected} (from {paths.PROGRAMS}), found {found}; {AGAIN}")
    if record.get("weights_sha256") != weights_sha256:
        raise BadInput(f"{path}: made from another checkpoint than {paths.MODEL}; {AGAIN}")
    return Program(content, path)


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
