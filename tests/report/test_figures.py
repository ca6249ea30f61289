import io

import numpy as np
import pytest
from PIL import Image

from armdigits.report.figures import image_grid, latency_curves
from tests.helpers import some_images


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


def test_names_with_dollars_or_in_another_script_are_drawn_as_text():
    assert image_grid("title", some_images(1).images.numpy(), ["$\\frac read as か $"], "ink")


@pytest.mark.parametrize("count", [0, 1, 8, 9])
def test_a_grid_has_a_row_for_every_eight_digits(count):
    height, width = pixels(image_grid("title", some_images(9).images.numpy(), ["caption"] * count, "ink")).shape
    assert width == 1000
    assert height == (60 + 160 * max(1, -(-count // 8)))


def test_figures_drawn_twice_have_the_same_bytes():
    images, times = some_images(2).images.numpy(), {"batch 1": {"int8": np.linspace(5, 9, 50)}}
    assert image_grid("title", images, ["0", "1"], "ink") == image_grid("title", images, ["0", "1"], "ink")
    assert latency_curves("title", times) == latency_curves("title", times)


def test_latencies_have_a_panel_for_each_batch_size():
    times = {"eager": np.linspace(20, 40, 50), "int8": np.linspace(5, 9, 50)}
    assert pixels(latency_curves("title", {"batch 1": times, "batch 8": times})).shape == (400, 800)
