import pytest
import torch

from armdigits import device
from armdigits.errors import BadInput


def test_the_cpu_is_always_there():
    assert device.choose("cpu") == torch.device("cpu")


def test_auto_takes_one_that_works():
    assert torch.ones(2, device=device.choose("auto")).sum() == 2


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_missing_device_is_named_with_those_there_are(name):
    if {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[name]:
        pytest.skip(f"this machine has {name}")
    with pytest.raises(BadInput, match=f"train.device: this machine has no {name} device; it has .*cpu"):
        device.choose(name)
