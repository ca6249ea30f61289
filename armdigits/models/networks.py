"""The networks that `model.name` in params.yaml can choose. For your own: a file beside this one, and a line below."""

import torch
from torch import nn

from armdigits.core.errors import BadInput
from armdigits.core.shape import Shape
from armdigits.models.cnn import ConvolutionalNetwork
from armdigits.models.layers import operations_of
from armdigits.models.mlp import NeuralNetwork

# A class takes `shape`, `classes`, `use_dropout` and `dropout`. Without dropout it loads the same `state_dict`.
NETWORKS: dict[str, type[nn.Module]] = {
    "mlp": NeuralNetwork,
    "cnn": ConvolutionalNetwork,
}


def build(name: str, shape: Shape, classes: int, use_dropout: bool = True, dropout: float = 0.2) -> nn.Module:
    """A new network for images of this shape, with random weights, in training mode.

    Raises:
        BadInput: there is no network of that name, its class does not take these arguments, one of its layers is not
            supported, or its output has another shape than [N, classes].
    """
    if name not in NETWORKS:
        raise BadInput(f"params.yaml: model.name: expected one of {', '.join(NETWORKS)}, got {name!r}")
    try:
        model = NETWORKS[name](shape=shape, classes=classes, use_dropout=use_dropout, dropout=dropout)
        *_, last = operations_of(model, shape)
    except (BadInput, TypeError) as error:  # a class that does not take these arguments
        raise BadInput(f"model {name}: {error}") from None
    if last.shape != (classes,):
        raise BadInput(f"model {name}: expected an output [N, {classes}], got [N, {str(list(last.shape))[1:]}")
    return model


@torch.no_grad()
def scale_first_layer(model: nn.Module, factor: float) -> None:
    """Multiply the weights of the first convolution or linear layer; biases stay."""
    next(module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)).weight.mul_(factor)


def name_of(model: nn.Module) -> str:
    """The name under which the class of `model` is registered."""
    names = {network: name for name, network in NETWORKS.items()}
    return names[type(model)]
