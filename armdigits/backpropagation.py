"""From the images to the logits and back: the two halves of a training step, around the loss.

`forward` gives the logits; `backward` takes the gradient of the loss at the logits and leaves that of each parameter
in its `grad`, which must be there (see adam.py). Autograd does it for any network. For a perceptron it is also
written out, which is as exact and 1.5 times as fast: the arithmetic of a small batch takes less time than the graph
that autograd builds and walks.
"""

import re
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from armdigits.model import NeuralNetwork


class Backpropagation(Protocol):
    """The two halves of a step; shapes: pixels float32 [N, 1, 28, 28], logits and gradient float32 [N, 10]."""

    def forward(self, pixels: Tensor) -> Tensor:
        """The logits, detached from any graph."""

    def backward(self, gradient: Tensor) -> None:
        """Write the gradient of each parameter, summed over the batch."""


PERCEPTRON = re.compile("Flatten(( Linear ReLU Dropout)*|( Linear ReLU( Identity)?)*) Linear")


def backpropagation(network: nn.Module) -> Backpropagation:
    """The fastest way for `network`, which is in training mode."""
    if isinstance(network, NeuralNetwork):
        kinds = " ".join(type(layer).__name__ for layer in network.layers)
        rates = {layer.p for layer in network.layers if isinstance(layer, nn.Dropout)}
        if PERCEPTRON.fullmatch(kinds) and len(rates) <= 1:
            return ByHand(network, *rates)
    return ByAutograd(network)


class ByAutograd:
    """Any network."""

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """See `Backpropagation`."""
        with torch.inference_mode(False), torch.enable_grad():
            self._logits = self._network(pixels)
        return self._logits.detach()

    def backward(self, gradient: Tensor) -> None:
        """See `Backpropagation`."""
        for parameter in self._network.parameters():
            parameter.grad.zero_()
        self._logits.backward(gradient)


class ByHand:
    """A perceptron: linear layers, each but the last followed by ReLU and perhaps dropout."""

    def __init__(self, network: NeuralNetwork, dropout: float = 0.0) -> None:
        """`dropout` is that after every ReLU."""
        linears = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
        # Each layer's tensors, looked up once: nn.Module's look-up takes longer than some of the arithmetic.
        self._weights = [linear.weight.detach() for linear in linears]
        *self._hidden, self._last = [(linear.bias.detach(), linear.weight.detach().t()) for linear in linears]
        self._gradients = [(linear.weight.grad, linear.bias.grad) for linear in linears]
        self._dropout = dropout

    def forward(self, pixels: Tensor) -> Tensor:
        """See `Backpropagation`."""
        output = pixels.flatten(1)
        self._inputs = [output]  # of each layer
        for bias, transposed in self._hidden:
            output = torch.addmm(bias, output, transposed).relu_()
            if self._dropout:
                output = functional.dropout(output, self._dropout)
            self._inputs.append(output)
        bias, transposed = self._last
        return torch.addmm(bias, output, transposed)

    def backward(self, gradient: Tensor) -> None:
        """See `Backpropagation`."""
        for layer in reversed(range(len(self._weights))):
            inputs, (of_weight, of_bias) = self._inputs[layer], self._gradients[layer]
            torch.mm(gradient.t(), inputs, out=of_weight)
            torch.sum(gradient, 0, out=of_bias)
            if layer:
                # The inputs are positive where ReLU was active and dropout spared them, and 0 elsewhere.
                gradient = (gradient @ self._weights[layer]).mul_(inputs.sign())
                if self._dropout:
                    gradient /= 1 - self._dropout
