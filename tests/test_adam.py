import copy

import pytest
import torch
from torch.nn import functional

from armdigits.adam import Adam
from armdigits.model import NeuralNetwork
from armdigits.teacher import Teacher
from tests.conftest import some_images


@pytest.mark.parametrize("kind", [NeuralNetwork, Teacher])
def test_it_takes_the_steps_of_torchs_adam(kind):
    """The teacher's convolutions lie channels last: the flat tensors must be laid out alike."""
    torch.manual_seed(0)
    one = kind().eval()
    other = copy.deepcopy(one)
    mine, torchs = Adam(one), torch.optim.Adam(other.parameters())
    pixels, targets = some_images(20).pixels(), some_images(20).targets()
    for rate in (0.01, 0.003, 0.001):
        torchs.param_groups[0]["lr"] = rate
        torchs.zero_grad()
        functional.cross_entropy(other(pixels), targets).backward()
        torchs.step()
        for parameter, expected in zip(one.parameters(), other.parameters(), strict=True):
            parameter.grad.copy_(expected.grad)
        mine.step(rate)
    for parameter, expected in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-6)


def test_the_parameters_keep_their_values_and_become_parts_of_one_tensor():
    network = Teacher()
    before = copy.deepcopy(network.state_dict())
    optimizer = Adam(network)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert len({parameter.untyped_storage().data_ptr() for parameter in network.parameters()}) == 1
    optimizer.gradient.fill_(3)
    assert all((parameter.grad == 3).all() for parameter in network.parameters())


def test_whoever_fills_its_state_continues_it():
    torch.manual_seed(0)
    one, other = NeuralNetwork(), NeuralNetwork()
    first, second = Adam(one), Adam(other)
    first.gradient.normal_()
    first.step(0.01)
    for name, tensor in second.state.items():
        tensor.copy_(first.state[name])
    other.load_state_dict(one.state_dict())
    for optimizer in (first, second):
        optimizer.gradient.fill_(0.5)
        optimizer.step(0.01)
    assert all(map(torch.equal, one.parameters(), other.parameters()))
