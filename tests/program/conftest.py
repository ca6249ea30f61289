"""What the tests of the programs share: the small pipeline's model, images and programs. Tests must not change them."""

from pathlib import Path

import pytest
from safetensors.torch import load_file
from torch import Tensor

from armdigits.core import paths
from armdigits.data.dataset import Split
from armdigits.models.mlp import NeuralNetwork
from armdigits.program.contents import Contents, read_back
from armdigits.program.runtime import Program


@pytest.fixture(scope="session")
def model(pipeline: Path) -> NeuralNetwork:
    model = NeuralNetwork(use_dropout=False)
    model.load_state_dict(load_file(pipeline / paths.MODEL))
    return model.eval()


@pytest.fixture(scope="session")
def test_pixels(pipeline: Path) -> Tensor:
    return Split(**load_file(pipeline / paths.TEST_DATA)).pixels()


@pytest.fixture(scope="session")
def calibration(pipeline: Path) -> Tensor:
    return Split(**load_file(pipeline / paths.TRAIN_DATA)).pixels()[:1000]


@pytest.fixture(scope="session")
def fp32(pipeline: Path) -> Program:
    return Program((pipeline / paths.FP32_PROGRAM).read_bytes(), "fp32.pte")


@pytest.fixture(scope="session")
def int8(pipeline: Path) -> Program:
    return Program((pipeline / paths.INT8_PROGRAM).read_bytes(), "int8.pte")


@pytest.fixture(scope="session")
def fp32_contents(pipeline: Path) -> Contents:
    return read_back((pipeline / paths.FP32_PROGRAM).read_bytes(), "fp32.pte")


@pytest.fixture(scope="session")
def int8_contents(pipeline: Path) -> Contents:
    return read_back((pipeline / paths.INT8_PROGRAM).read_bytes(), "int8.pte")
