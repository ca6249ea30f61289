"""Decoders of foreign files print nothing, and get a limited amount of memory."""

import io
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from armdigits.core.errors import BadInput
from armdigits.pictures.contained import STATM, contained
from armdigits.pictures.decode import MAX_PIXELS, decode

MEASURE = """
import resource, sys
from pathlib import Path
from armdigits.pictures.decode import decode
decode(Path(sys.argv[1]).read_bytes())
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_what_libtiff_and_pillow_say_of_a_damaged_picture_does_not_reach_the_terminal(
    capfd: pytest.CaptureFixture[str],
) -> None:
    buffer = io.BytesIO()
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90), np.uint8))
    noise.save(buffer, "tiff", compression="tiff_lzw")
    content = bytearray(buffer.getvalue())
    content[100:300] = b"\xff" * 200
    with pytest.raises(BadInput, match="a damaged picture"):
        decode(bytes(content))
    with contained(1 << 30):
        logging.getLogger("PIL.TiffImagePlugin").error("More samples per pixel than can be decoded: 99")
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not STATM.exists(), reason="only Linux limits the memory")
def test_memory_is_limited_inside_the_block_only() -> None:
    with contained(100 << 20), pytest.raises(MemoryError):
        bytearray(200 << 20)
    bytearray(200 << 20)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
@pytest.mark.parametrize("mode", ["RGBA", "I;16"])
def test_a_picture_of_64_megapixels_takes_less_than_2_gb(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (8000, MAX_PIXELS // 8000)).save(tmp_path / "large.png", compress_level=1)
    command = [sys.executable, "-c", MEASURE, tmp_path / "large.png"]
    kilobytes = int(subprocess.run(command, check=True, capture_output=True).stdout)
    assert kilobytes < 2_000_000
