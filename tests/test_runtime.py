import gc
import json
import sys
from pathlib import Path

import pytest
import torch

from armdigits import paths
from armdigits.checkpoint import read_checkpoint
from armdigits.dataset import read_split
from armdigits.errors import BadInput
from armdigits.runtime import Program, read_program
from armdigits.scoring import logits_of
from tests.conftest import run

AGAIN = "run: dvc repro --force quantize"


@pytest.fixture
def weights_sha256(ran) -> str:
    return read_checkpoint(paths.MODEL)[1]


def test_the_fp32_program_computes_what_the_network_computes(weights_sha256):
    pixels = read_split(paths.TEST_DATA).pixels()
    network, _ = read_checkpoint(paths.MODEL)
    logits = read_program(paths.FP32_PROGRAM, weights_sha256).logits_of(pixels)
    torch.testing.assert_close(logits, logits_of(network, pixels), atol=1e-4, rtol=1e-4)


def test_the_int8_program_is_close_to_the_network_and_not_it(weights_sha256):
    pixels = read_split(paths.TEST_DATA).pixels()
    network, _ = read_checkpoint(paths.MODEL)
    logits, expected = read_program(paths.INT8_PROGRAM, weights_sha256).logits_of(pixels), logits_of(network, pixels)
    assert (logits.argmax(1) == expected.argmax(1)).float().mean() > 0.97
    assert len(logits.unique()) <= 256, "the logits are int8 numbers times a scale"


@pytest.mark.parametrize("path", [paths.FP32_PROGRAM, paths.INT8_PROGRAM])
def test_an_image_gets_the_same_logits_in_any_batch(weights_sha256, path):
    program = read_program(path, weights_sha256)
    pixels = read_split(paths.TEST_DATA).pixels()[: program.max_batch]
    alone = torch.cat([program(image) for image in pixels.split(1)])
    torch.testing.assert_close(program(pixels), alone)


def test_images_that_do_not_lie_in_a_row_get_the_right_answer(weights_sha256):
    program = read_program(paths.INT8_PROGRAM, weights_sha256)
    pixels = read_split(paths.TEST_DATA).pixels()[:6]
    scattered = pixels.transpose(2, 3).contiguous().transpose(2, 3)
    assert not scattered.is_contiguous()
    assert torch.equal(program(scattered), program(pixels))


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
def test_images_of_another_shape_or_type_are_refused(weights_sha256, images):
    with pytest.raises(BadInput, match=r"images: expected float32 \[1 to 64, 1, 28, 28\], got "):
        read_program(paths.INT8_PROGRAM, weights_sha256)(images)


@pytest.mark.parametrize("path", [paths.FP32_PROGRAM, paths.INT8_PROGRAM])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 1.01, -0.01, 255.0])
def test_one_impossible_pixel_is_refused(weights_sha256, path, value):
    images = torch.zeros(3, 1, 28, 28)
    images[1, 0, 27, 27] = value
    with pytest.raises(
        BadInput, match=r"^images: expected pixels from 0 to 1 \(pixel / 255\) and no NaN, got .* to .*$"
    ):
        read_program(path, weights_sha256)(images)


def test_an_answer_stays_what_it_is_when_the_next_one_comes(weights_sha256):
    program = read_program(paths.INT8_PROGRAM, weights_sha256)
    pixels = read_split(paths.TEST_DATA).pixels()
    first = program(pixels[:1])
    kept = first.clone()
    program(pixels[1:2])
    assert torch.equal(first, kept)


def test_a_call_outlives_the_bytes_that_its_program_was_loaded_from(weights_sha256):
    image = read_split(paths.TEST_DATA).pixels()[:1]
    expected = read_program(paths.INT8_PROGRAM, weights_sha256)(image)
    forward = Program(paths.INT8_PROGRAM.read_bytes(), "x.pte").forward
    gc.collect()
    rubbish = [bytes([position % 256]) * paths.INT8_PROGRAM.stat().st_size for position in range(50)]
    assert torch.equal(forward(image), expected)
    del rubbish


@pytest.mark.parametrize("path", [paths.FP32_PROGRAM, paths.INT8_PROGRAM])
def test_a_program_reads_no_byte_beyond_its_images(weights_sha256, path):
    """The images end where the memory does: a program that reads on ends the process."""
    code = f"""
import ctypes, mmap, numpy as np, torch
from pathlib import Path
from armdigits.runtime import Program
memory = mmap.mmap(-1, 8 * mmap.PAGESIZE)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
fence = start + 7 * mmap.PAGESIZE
assert ctypes.CDLL(None, use_errno=True).mprotect(ctypes.c_void_p(fence), mmap.PAGESIZE, 0) == 0
program = Program(Path("{path}").read_bytes(), "x.pte")
for count in (1, 3, 8):
    begin = 7 * mmap.PAGESIZE - count * 28 * 28 * 4
    images = torch.from_numpy(np.frombuffer(memory, np.float32, count * 784, begin).reshape(count, 1, 28, 28))
    assert program(images).shape == (count, 10)
"""
    done = run(Path.cwd(), sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda _: b"", lambda b: b[:40], lambda b: b[::-1]])
def test_a_damaged_program_is_refused_before_it_is_loaded(weights_sha256, damage):
    content = damage(paths.INT8_PROGRAM.read_bytes())
    with pytest.raises(BadInput, match=f"^x.pte: .*{AGAIN}$"):
        Program(content, "x.pte")
    paths.INT8_PROGRAM.write_bytes(content)
    with pytest.raises(BadInput, match=f"^models/int8.pte: expected SHA-256 .* found .*{AGAIN}$"):
        read_program(paths.INT8_PROGRAM, weights_sha256)


def test_programs_of_another_checkpoint_are_refused(weights_sha256):
    record = json.loads(paths.PROGRAMS.read_text())
    paths.PROGRAMS.write_text(json.dumps({**record, "weights_sha256": "0"}))
    with pytest.raises(BadInput, match="made from another checkpoint than models/model.safetensors"):
        read_program(paths.INT8_PROGRAM, weights_sha256)
