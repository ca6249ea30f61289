"""Predictions of a model, without dropout and without gradients, and figures computed from them."""

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH = 1000


@torch.inference_mode()
def logits_of(model: nn.Module, pixels: Tensor) -> Tensor:
    """The logits float32 [N, 10] of images float32 [N, 1, 28, 28]. The model's mode is restored."""
    was_training = model.training
    model.eval()
    logits = torch.cat([model(batch) for batch in pixels.split(BATCH)])
    model.train(was_training)
    return logits


@torch.inference_mode()
def activations_of(model: nn.Module, pixels: Tensor) -> dict[str, Tensor]:
    """The output of each linear layer, after its ReLU where it has one: float32 [N, features] by the layer's name.

    Args:
        model: in evaluation mode; its layers are children that run in the order in which they were registered.
        pixels: float32 [N, 1, 28, 28].
    """
    activations: dict[str, Tensor] = {}
    latest = ""
    for name, layer in model.named_children():
        pixels = layer(pixels)
        if isinstance(layer, nn.Linear):
            latest = name
        if isinstance(layer, nn.Linear | nn.ReLU):
            activations[latest] = pixels
    return activations


def accuracy(logits: Tensor, targets: Tensor) -> float:
    """Share of images whose largest logit is that of their label."""
    return int((logits.argmax(1) == targets).sum()) / len(targets)


def cross_entropy(logits: Tensor, targets: Tensor) -> float:
    """Mean negative log-likelihood of the labels, in nats."""
    return functional.cross_entropy(logits.cpu().double(), targets.cpu()).item()  # mps has no float64


def calibration_error(logits: Tensor, targets: Tensor, bins: int = 15) -> float:
    """The expected calibration error (Guo et al., 2017, https://arxiv.org/abs/1706.04599): 0 is best, 1 worst.

    The predictions are put into `bins` bins of equal width by their probability; the differences between a bin's
    accuracy and its mean probability are averaged, weighted by its number of predictions.
    """
    confidence, predicted = logits.double().softmax(1).max(1)
    surplus = confidence - (predicted == targets).double()
    numbers = (confidence * bins).ceil().long().clamp(1, bins) - 1
    sums = torch.zeros(bins, dtype=torch.float64).index_add(0, numbers, surplus)
    return float(sums.abs().sum()) / len(targets)


def confident_mistakes(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The wrong predictions, the most confident first.

    Returns:
        Their positions among the images, the predicted labels and their probabilities: each [number of mistakes].
    """
    confidence, predicted = logits.softmax(1).max(1)
    wrong = (predicted != targets).nonzero().flatten()
    wrong = wrong[confidence[wrong].argsort(descending=True, stable=True)]
    return wrong, predicted[wrong], confidence[wrong]
