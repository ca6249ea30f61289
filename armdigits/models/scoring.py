"""Predictions of a model, without dropout and without gradients, and figures computed from them."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from armdigits.data.dataset import pixels_of, shape_of
from armdigits.models.layers import operations_of

BATCH = 256  # images at a time, whose activations fit into the processor's cache


@torch.inference_mode()
def model_logits(model: nn.Module, images: Tensor) -> Tensor:
    """The logits float32 [N, classes] of images uint8 [N, C, H, W] or their pixels; the model's mode is restored."""
    was_training = model.training
    model.eval()
    batches = (pixels_of(batch) if batch.dtype == torch.uint8 else batch for batch in images.split(BATCH))
    logits = torch.cat([model(batch) for batch in batches])
    model.train(was_training)
    return logits


@torch.inference_mode()
def activations_of(model: nn.Module, pixels: Tensor) -> dict[str, Tensor]:
    """The output of each Conv2d and Linear, after its ReLU where it has one: float32 [N, ...] by the layer's name.

    Args:
        model: in evaluation mode.
        pixels: float32 [N, C, H, W].
    """
    activations: dict[str, Tensor] = {}
    for operation in operations_of(model, shape_of(pixels)):
        pixels = operation(pixels)
        if isinstance(operation.module, nn.Conv2d | nn.Linear):
            activations[operation.name] = pixels
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
