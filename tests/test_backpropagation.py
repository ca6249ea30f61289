from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from armdigits.adam import Adam
from armdigits.backpropagation import Backpropagation, ByAutograd, ByHand, backpropagation
from armdigits.model import NeuralNetwork
from armdigits.teacher import Teacher
from tests.conftest import some_images


def gradient(by: Callable[[nn.Module], Backpropagation], dropout: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits of 33 images, and the gradient of all parameters of their mean cross-entropy."""
    torch.manual_seed(3)
    network = NeuralNetwork(dropout=dropout).train()
    optimizer = Adam(network)
    optimizer.gradient.fill_(7)  # of the step before
    images = some_images(33)
    layers = by(network)
    logits = layers.forward(images.pixels())
    layers.backward((logits.softmax(1) - functional.one_hot(images.targets(), 10)) / 33)
    return logits, optimizer.gradient


@pytest.mark.parametrize("dropout", [0.0, 0.2, 0.7])
def test_by_hand_the_gradient_is_that_of_autograd(dropout):
    """With the same random numbers, dropout spares the same activations in both."""
    (logits, by_hand), (expected_logits, expected) = gradient(backpropagation, dropout), gradient(ByAutograd, dropout)
    torch.testing.assert_close(logits, expected_logits, rtol=0, atol=1e-6)
    torch.testing.assert_close(by_hand, expected, rtol=0, atol=1e-7)
    assert expected.abs().max() > 1e-3


def test_autograd_starts_from_the_gradient_of_the_loss_at_the_logits():
    _, found = gradient(ByAutograd, 0.0)
    torch.manual_seed(3)
    network = NeuralNetwork(dropout=0.0)
    functional.cross_entropy(network(some_images(33).pixels()), some_images(33).targets()).backward()
    expected = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def changed(name: str, layer: nn.Module) -> NeuralNetwork:
    """A network that somebody has changed: one of its layers is another."""
    network = NeuralNetwork()
    setattr(network.layers, name, layer)
    return network


@pytest.mark.parametrize(
    ("network", "way"),
    [
        (NeuralNetwork(), ByHand),
        (NeuralNetwork(use_dropout=False), ByHand),
        (Teacher(), ByAutograd),
        (changed("dropout1", nn.BatchNorm1d(96)), ByAutograd),
        (changed("dropout1", nn.Dropout(0.5)), ByAutograd),
        (changed("relu2", nn.Tanh()), ByAutograd),
    ],
)
def test_only_a_perceptron_with_one_rate_of_dropout_goes_by_hand(network, way):
    Adam(network)
    assert type(backpropagation(network)) is way
