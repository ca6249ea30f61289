import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from armdigits.core import files, paths
from armdigits.core.errors import BadInput
from armdigits.data.dataset import read_provenance
from armdigits.models.mlp import NeuralNetwork
from armdigits.models.scoring import model_logits
from armdigits.program import runtime
from armdigits.program.runtime import Program, read_content, read_program
from tests.helpers import run, write_some_data

RUN_QUANTIZE = "run: dvc repro --force quantize"
EITHER = pytest.mark.parametrize("name", ["fp32", "int8"])


@pytest.fixture
def program(request: pytest.FixtureRequest, name: str) -> Program:
    loaded: Program = request.getfixturevalue(name)
    return loaded


def test_the_fp32_program_computes_the_models_logits(fp32: Program, model: NeuralNetwork, test_pixels: Tensor) -> None:
    torch.testing.assert_close(fp32.logits(test_pixels), model_logits(model, test_pixels), atol=1e-4, rtol=1e-4)


def test_the_int8_program_is_close_to_the_model_and_has_int8_logits(
    int8: Program, model: NeuralNetwork, test_pixels: Tensor
) -> None:
    logits, expected = int8.logits(test_pixels), model_logits(model, test_pixels)
    assert (logits.argmax(1) == expected.argmax(1)).float().mean() > 0.97
    assert len(logits.unique()) <= 256


@EITHER
def test_an_image_has_equal_logits_alone_and_in_a_batch(program: Program, test_pixels: Tensor) -> None:
    pixels = test_pixels[: program.max_batch]
    alone = torch.cat([program(image) for image in pixels.split(1)])
    torch.testing.assert_close(program(pixels), alone)


def test_images_that_are_not_contiguous_get_the_right_logits(int8: Program, test_pixels: Tensor) -> None:
    pixels = test_pixels[:6]
    scattered = pixels.transpose(2, 3).contiguous().transpose(2, 3)
    assert not scattered.is_contiguous()
    assert torch.equal(int8(scattered), int8(pixels))


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(0, 1, 28, 28),
        torch.zeros(65, 1, 28, 28),
        torch.zeros(1, 1, 28, 28, dtype=torch.float64),
        torch.zeros(1, 1, 28, 28, dtype=torch.uint8),
        torch.zeros(1, 784),
        torch.zeros(1, 28, 28, 1),
        torch.zeros(28, 28),
        torch.zeros(()),
    ],
)
def test_images_of_another_shape_or_type_are_refused(int8: Program, images: Tensor) -> None:
    with pytest.raises(BadInput, match=r"^images: expected float32 \[1 to 64, 1, 28, 28\], got "):
        int8(images)


@EITHER
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1.01, -0.01, 255.0])
def test_one_pixel_outside_0_to_1_is_refused(program: Program, value: float) -> None:
    images = torch.zeros(3, 1, 28, 28)
    images[1, 0, 27, 27] = value
    with pytest.raises(BadInput, match=r"^images: expected pixels from 0 to 1 \(pixel / 255\) and no NaN, got .* to "):
        program(images)


@pytest.mark.parametrize("call", [Program.__call__, lambda program, images: program.forward(images), Program.logits])
def test_logits_do_not_change_when_the_program_is_called_again(
    int8: Program, test_pixels: Tensor, call: Callable[[Program, Tensor], Tensor]
) -> None:
    first = call(int8, test_pixels[:1])
    before = first.clone()
    int8(test_pixels[1:2])
    int8.view(test_pixels[1:2])
    assert torch.equal(first, before)


def test_logits_of_many_batches_are_those_of_each_batch(int8: Program, test_pixels: Tensor) -> None:
    pixels = test_pixels[: 2 * int8.max_batch + 3]
    expected = torch.cat([int8(batch) for batch in pixels.split(int8.max_batch)])
    assert len(expected) > 2 * int8.max_batch
    assert torch.equal(int8.logits(pixels), expected)


def test_a_view_is_overwritten_by_the_next_call(int8: Program, test_pixels: Tensor) -> None:
    """Why `forward` copies. When a release of the runtime changes this, `forward` can become the faster call."""
    first = int8.view(test_pixels[:1])
    assert torch.equal(first, int8(test_pixels[:1]))
    before, second = first.clone(), int8.view(test_pixels[1:2])
    assert not torch.equal(second, before)
    assert torch.equal(first, second)


def test_a_call_keeps_the_bytes_alive_that_the_runtime_reads(pipeline: Path) -> None:
    """Without a reference the memory would be used for something else, and the next call would crash, or not."""
    content = (pipeline / paths.INT8_PROGRAM).read_bytes()
    references = sys.getrefcount(content)
    forward = Program(content, "x.pte").forward
    gc.collect()
    assert sys.getrefcount(content) > references
    del forward
    gc.collect()
    assert sys.getrefcount(content) == references


@pytest.mark.slow
def test_the_programs_read_no_byte_after_their_images(pipeline: Path) -> None:
    """The images end at a page without access, so a program that reads on crashes its process."""
    code = """
import ctypes, mmap, numpy as np, torch
from pathlib import Path
from armdigits.program.runtime import Program
memory = mmap.mmap(-1, 8 * mmap.PAGESIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
fence = start + 7 * mmap.PAGESIZE
assert ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(fence), mmap.PAGESIZE, 0) == 0
for name in ("models/fp32.pte", "models/int8.pte"):
    program = Program(Path(name).read_bytes(), name)
    for count in (1, 3, 8):
        begin = 7 * mmap.PAGESIZE - count * 28 * 28 * 4
        images = torch.from_numpy(np.frombuffer(memory, np.float32, count * 784, begin).reshape(count, 1, 28, 28))
        assert program(images).shape == (count, 10)
"""
    done = run(pipeline, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda _: b"", lambda b: b[:40], lambda b: b[::-1]])
def test_damaged_bytes_are_refused_before_they_reach_the_runtime(
    pipeline: Path, damage: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime, "load", lambda _: pytest.fail("the runtime has got the bytes"))
    with pytest.raises(BadInput, match=f"^x.pte: .*{RUN_QUANTIZE}$"):
        Program(damage((pipeline / paths.INT8_PROGRAM).read_bytes()), "x.pte")


def test_a_program_for_images_of_another_shape_is_refused(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(pipeline)
    monkeypatch.setattr(runtime, "load", lambda _: runtime.Loaded(Tensor.clone, Tensor.clone, (64, 3, 32, 32)))
    expected = (
        r"^models/int8.pte: for images \[3, 32, 32\], but its record says \[1, 28, 28\]; run: dvc repro --force q"
    )
    with pytest.raises(BadInput, match=expected):
        read_program(paths.INT8_PROGRAM)


def test_a_program_of_something_else_than_images_is_refused(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "load", lambda _: runtime.Loaded(Tensor.clone, Tensor.clone, (64, 784)))
    expected = r"^x.pte: expected a program for images \[channels, height, width\], found \[784\]; "
    with pytest.raises(BadInput, match=expected):
        Program((pipeline / paths.INT8_PROGRAM).read_bytes(), "x.pte")


@pytest.fixture
def written(folder: Path) -> bytes:
    """The int8 bytes of two programs that `write_programs` has written, with their record, to the current folder."""
    content = b"the bytes of a program"
    write_some_data()
    programs = {paths.FP32_PROGRAM: b"other bytes", paths.INT8_PROGRAM: content}
    runtime.write_programs(programs, "0123", read_provenance())
    return content


@pytest.mark.parametrize("weights_sha256", [None, "0123"])
def test_the_bytes_that_the_record_describes_are_read(written: bytes, weights_sha256: str | None) -> None:
    assert read_content(paths.INT8_PROGRAM, weights_sha256) == written


def test_the_record_has_the_digest_of_each_program_and_of_the_weights(written: bytes) -> None:
    record = json.loads(paths.PROGRAM_RECORD.read_text("utf-8"))
    digests = {"fp32.pte": files.sha256(b"other bytes"), "int8.pte": files.sha256(written)}
    assert (record["weights_sha256"], record["programs_sha256"]) == ("0123", digests)
    assert (record["shape"], record["reading"], record["classes"]) == ([1, 28, 28], "ink", list("0123456789"))


@pytest.mark.parametrize("weights_sha256", [None, "0123"])
def test_bytes_that_differ_from_the_record_are_refused(written: bytes, weights_sha256: str | None) -> None:
    paths.INT8_PROGRAM.write_bytes(written + b"!")
    with pytest.raises(BadInput, match=f"^models/int8.pte: expected SHA-256 .* found .*{RUN_QUANTIZE}$"):
        read_program(paths.INT8_PROGRAM, weights_sha256)


def test_a_program_of_another_checkpoint_is_refused(written: bytes) -> None:
    with pytest.raises(BadInput, match=f"^models/int8.pte: made from another checkpoint .*; {RUN_QUANTIZE}$"):
        read_program(paths.INT8_PROGRAM, "4567")


def test_a_program_that_the_record_does_not_name_is_refused(written: bytes) -> None:
    paths.EMPTY_PROGRAM.write_bytes(b"")
    with pytest.raises(BadInput, match=f"^models/programs.json: has no entry empty.pte; {RUN_QUANTIZE}$"):
        read_content(paths.EMPTY_PROGRAM)


@pytest.mark.parametrize("path", [paths.INT8_PROGRAM, paths.PROGRAM_RECORD])
def test_a_missing_program_or_record_is_refused_with_the_command_to_run(written: bytes, path: Path) -> None:
    path.unlink()
    with pytest.raises(BadInput, match=f"^{path}: no such file; run: dvc repro quantize$"):
        read_program(paths.INT8_PROGRAM)


@pytest.mark.slow
def test_the_runtime_imports_no_exporter(pipeline: Path) -> None:
    code = "import sys, armdigits.program.runtime; print(*sorted(sys.modules))"
    modules = run(pipeline, sys.executable, "-c", code).stdout.split()
    assert "armdigits.program.runtime" in modules
    heavy = ("executorch.exir", "executorch.backends", "torchao", "torchvision", "sklearn", "armdigits.training")
    assert [name for name in modules if name.startswith(heavy)] == []
