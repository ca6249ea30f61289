"""The layers of a network, and the one line for each network that no program can be made of."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from armdigits.core.errors import BadInput
from armdigits.core.shape import MNIST
from armdigits.models.cnn import ConvolutionalNetwork
from armdigits.models.layers import layers_of, operations_of
from armdigits.models.mlp import NeuralNetwork


def test_layers_come_in_the_order_in_which_they_run_with_their_shapes() -> None:
    model = NeuralNetwork()
    assert [layer.name for layer in layers_of(model, MNIST)] == [name for name, _ in model.named_children()]
    assert [layer.shape for layer in layers_of(model, MNIST)] == [(784,), *[(96,)] * 3, *[(256,)] * 3, (10,)]
    assert all(layer.module is getattr(model, layer.name) for layer in layers_of(model, MNIST))
    assert model.training, "the mode is restored"


def test_layers_inside_of_other_modules_are_found() -> None:
    model = nn.Sequential(nn.Sequential(nn.Flatten(), nn.Linear(784, 5)), nn.ReLU(), nn.Linear(5, 2))
    assert [layer.name for layer in layers_of(model, MNIST)] == ["0.0", "0.1", "1", "2"]


def test_operations_hold_their_relu_and_dropout_is_none() -> None:
    found = [
        (operation.name, operation.shape, operation.relu) for operation in operations_of(ConvolutionalNetwork(), MNIST)
    ]
    assert found == [
        ("conv1", (16, 14, 14), True),
        ("conv2", (32, 14, 14), True),
        ("pool2", (32, 7, 7), False),
        ("conv3", (64, 7, 7), True),
        ("pool3", (64, 3, 3), False),
        ("flatten", (576,), False),
        ("linear1", (128,), True),
        ("linear2", (10,), False),
    ]


def test_the_operations_one_after_the_other_compute_the_network() -> None:
    model, values = ConvolutionalNetwork().eval(), torch.rand(3, 1, 28, 28)
    expected = model(values)
    for operation in operations_of(model, MNIST):
        values = operation(values)
    assert torch.equal(values, expected)


class Changed(ConvolutionalNetwork):
    """The convolutional network with another way through its layers."""

    def __init__(self, way: Callable[[ConvolutionalNetwork, Tensor], Tensor]) -> None:
        super().__init__()
        self.way = way

    def forward(self, images: Tensor) -> Tensor:
        return self.way(self, images)


HEAD = (nn.Flatten(), nn.Linear(784, 10))
REFUSED = {
    "softmax": (
        nn.Sequential(*HEAD, nn.Softmax(1)),
        "layer 2: Softmax is not supported; use Conv2d, MaxPool2d, Flatten, Linear, ReLU, Dropout, Identity",
    ),
    "another activation": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(2704, 10)),
        "layer 1: Sigmoid is not supported; use ",
    ),
    "no activation": (
        nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.Linear(20, 10)),
        "layer 2: expected ReLU or logits after Linear, got Linear",
    ),
    "average pooling": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(676, 10)),
        "layer 2: AvgPool2d is not supported; use ",
    ),
    "recurrent": (nn.Sequential(nn.Flatten(), nn.LSTM(784, 10)), "layer 1: LSTM is not supported; use "),
    "no flatten": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Linear(26, 10)),
        "layer 2: expected Conv2d or MaxPool2d or Flatten after Conv2d with ReLU, got Linear",
    ),
    "nothing": (
        Changed(lambda _, x: x.flatten(1)),
        "expected the output of the network to be that of its last layer (none), unchanged",
    ),
    "no layers after": (nn.Sequential(*HEAD, nn.ReLU()), "the network ends after Linear with ReLU; expected Linear"),
    "overlapping pooling": (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Flatten(), nn.Linear(576, 10)),
        "layer 2: expected a stride equal to the kernel_size, padding=0, dilation=1, ceil_mode=False, got MaxPool2d",
    ),
    "dilation": (
        nn.Sequential(nn.Conv2d(1, 4, 3, dilation=2), nn.ReLU(), nn.Flatten(), nn.Linear(2304, 10)),
        "layer 0: expected dilation=1, padding_mode='zeros', and padding as a number, got Conv2d",
    ),
    "a size that does not fit": (
        nn.Sequential(nn.Flatten(), nn.Linear(700, 10)),
        "fails on an image [1, 1, 28, 28]: mat1 and mat2 shapes cannot be multiplied (1x784 and 700x10)",
    ),
    "a sum": (
        Changed(lambda self, x: self.linear2(self.linear1(self.flatten(self.pool3(self.conv3(self.pool2(self.conv2(
            self.conv1(x) + 1)))))))),
        "layer conv2: expected its input to be the output of conv1, unchanged",
    ),
    "a function": (
        Changed(lambda self, x: self.conv2(functional.relu(self.conv1(x)))),
        "layer conv2: expected its input to be the output of conv1, unchanged",
    ),
    "an output that is changed": (
        Changed(lambda self, x: self.conv2(self.conv1(x)).mean((2, 3))),
        "expected the output of the network to be that of its last layer (conv2), unchanged",
    ),
    "a layer used twice": (
        Changed(lambda self, x: self.relu1(self.conv2(self.relu1(self.conv1(x))))),
        "layer relu1: used twice; make a layer of its own for each use",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_program_can_be_made_of_is_refused_in_one_line_that_names_the_layer(case: str) -> None:
    model, message = REFUSED[case]
    with pytest.raises(BadInput) as caught:
        operations_of(model, MNIST)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
