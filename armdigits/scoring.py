"""What a network says of images, without dropout and without gradients."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from armdigits.model import NeuralNetwork

BATCH = 1000


@torch.inference_mode()
def logits_of(network: nn.Module, pixels: Tensor) -> Tensor:
    """The logits float32 [N, 10] of images float32 [N, 1, 28, 28]. The network's mode is left as it was."""
    was_training = network.training
    network.eval()
    logits = torch.cat([network(batch) for batch in pixels.split(BATCH)])
    network.train(was_training)
    return logits


@torch.inference_mode()
def activations_of(network: NeuralNetwork, pixels: Tensor) -> dict[str, Tensor]:
    """What follows each linear layer and its ReLU, float32 [N, features] by the layer's name, the logits last.

    Args:
        network: in evaluation mode.
        pixels: float32 [N, 1, 28, 28].
    """
    activations: dict[str, Tensor] = {}
    for name, layer in network.layers.named_children():
        pixels = layer(pixels)
        if isinstance(layer, nn.Linear):
            latest = name
        if isinstance(layer, nn.Linear | nn.ReLU):
            activations[latest] = pixels
    return activations


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """Share of images whose largest logit is that of their label."""
    return (logits.argmax(1) == targets).double().mean().item()


def cross_entropy(logits: Tensor, targets: Tensor) -> float:
    """Mean negative log-likelihood of the labels, in nats."""
    return functional.cross_entropy(logits.double(), targets).item()


def confident_mistakes(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The wrong predictions, those with the largest probability first.

    Returns:
        Their positions among the images, what was predicted, and its probability: each [number of mistakes].
    """
    confidence, predicted = logits.softmax(1).max(1)
    wrong = (predicted != targets).nonzero().flatten()
    wrong = wrong[confidence[wrong].argsort(descending=True, stable=True)]
    return wrong, predicted[wrong], confidence[wrong]
