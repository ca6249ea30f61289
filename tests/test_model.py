import pytest
import torch
from torch import nn

from armdigits.model import NeuralNetwork


def test_it_has_102762_parameters():
    sizes = [tensor.numel() for tensor in NeuralNetwork().parameters()]
    assert [sizes[0] + sizes[1], sizes[2] + sizes[3], sizes[4] + sizes[5]] == [75_360, 24_832, 2_570]


def test_it_gives_raw_logits():
    logits = NeuralNetwork()(torch.rand(3, 1, 28, 28))
    assert logits.shape == (3, 10)
    assert (logits < 0).any(), "a softmax would have no negative values"


def test_both_forms_share_their_weights():
    with_dropout, without = NeuralNetwork(), NeuralNetwork(use_dropout=False)
    without.load_state_dict(with_dropout.state_dict())
    images = torch.rand(3, 1, 28, 28)
    assert torch.equal(with_dropout.eval()(images), without(images))


@pytest.mark.parametrize(("use_dropout", "count"), [(True, 2), (False, 0)])
def test_dropout_can_be_taken_out(use_dropout, count):
    modules = list(NeuralNetwork(use_dropout, dropout=0.3).modules())
    assert sum(isinstance(module, nn.Dropout) for module in modules) == count
    assert sum(isinstance(module, nn.Identity) for module in modules) == 2 - count
    assert all(module.p == 0.3 for module in modules if isinstance(module, nn.Dropout))
