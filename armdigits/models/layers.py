"""The layers of a network in the order in which they run: what program, proofs, figures and model card go by.

A network is a chain, in which each layer takes the output of the one before it. What is no chain, and a layer that the
int8 program, its reference or its C source cannot express, is refused before the training.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from armdigits.core.errors import BadInput
from armdigits.core.shape import Shape

ABSENT = ("Dropout", "Identity")  # they have no effect after the training
FOLLOWERS = {  # the layers that can follow each part of a chain
    "images": ("Conv2d", "Flatten"),
    "Conv2d": ("ReLU",),
    "Conv2d with ReLU": ("Conv2d", "MaxPool2d", "Flatten"),
    "MaxPool2d": ("Conv2d", "Flatten"),
    "Flatten": ("Linear",),
    "Linear": ("ReLU", "logits"),
    "Linear with ReLU": ("Linear",),
}
KINDS = ("Conv2d", "MaxPool2d", "Flatten", "Linear", "ReLU", *ABSENT)


@dataclass(frozen=True)
class Layer:
    """A layer of a network.

    Attributes:
        name: of the attribute of the network: `conv1`.
        module: the layer itself.
        shape: of its output for one image: (16, 14, 14).
    """

    name: str
    module: nn.Module
    shape: tuple[int, ...]

    @property
    def kind(self) -> str:
        """The name of its class."""
        return type(self.module).__name__


@dataclass(frozen=True)
class Operation(Layer):
    """A Conv2d, MaxPool2d, Flatten or Linear, with the ReLU after it where there is one."""

    relu: bool = False

    def __call__(self, inputs: Tensor) -> Tensor:
        """The output, float32 [N, *shape]."""
        outputs: Tensor = self.module(inputs)
        return outputs.relu() if self.relu else outputs


def operations_of(model: nn.Module, shape: Shape) -> list[Operation]:
    """What remains of a network in a program: each ReLU is part of the layer before it, dropout is absent.

    Args:
        model: the network.
        shape: of an image.

    Raises:
        BadInput: as `layers_of`; a layer cannot follow the one before it, or has an option that is not supported.
    """
    operations: list[Operation] = []
    before = "images"
    for layer in layers_of(model, shape):
        if layer.kind in ABSENT:
            continue
        if layer.kind not in FOLLOWERS[before]:
            expected = " or ".join(FOLLOWERS[before])
            raise BadInput(f"layer {layer.name}: expected {expected} after {before}, got {layer.kind}")
        if layer.kind == "ReLU":
            last = operations.pop()
            operations.append(Operation(last.name, last.module, last.shape, relu=True))
            before = f"{before} with ReLU"
        else:
            _check_options(layer)
            operations.append(Operation(layer.name, layer.module, layer.shape))
            before = layer.kind
    if "logits" not in FOLLOWERS[before]:
        raise BadInput(f"the network ends after {before}; expected {' or '.join(FOLLOWERS[before])}")
    return operations


def layers_of(model: nn.Module, shape: Shape) -> list[Layer]:
    """All layers in the order in which they run, found by running the network on an empty image.

    Raises:
        BadInput: a kind of layer is not supported, the network does not run, or it computes something between or
            beside its layers.
    """
    layers: list[Layer] = []
    latest = torch.zeros(1, *shape)

    def recorder(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            nonlocal latest
            if type(module).__name__ not in KINDS:
                raise BadInput(f"layer {name}: {type(module).__name__} is not supported; use {', '.join(KINDS)}")
            if inputs[0] is not latest:
                before = layers[-1].name if layers else "the images"
                raise BadInput(f"layer {name}: expected its input to be the output of {before}, unchanged")
            if any(layer.module is module for layer in layers):
                raise BadInput(f"layer {name}: used twice; make a layer of its own for each use")
            layers.append(Layer(name, module, tuple(output.shape[1:])))
            latest = output

        return record

    leaves = [(name, module) for name, module in model.named_modules() if not list(module.children())]
    hooks = [module.register_forward_hook(recorder(name)) for name, module in leaves]
    was_training = model.training
    try:
        with torch.inference_mode():
            output = model.eval()(latest)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise BadInput(f"fails on an image {[1, *shape]}: {reason}") from None
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    if output is not latest or not layers:
        last = layers[-1].name if layers else "none"
        raise BadInput(f"expected the output of the network to be that of its last layer ({last}), unchanged")
    return layers


def _check_options(layer: Layer) -> None:
    """Raise BadInput for an option of a layer that is not supported."""
    module = layer.module
    if isinstance(module, nn.Conv2d):
        plain = module.dilation == (1, 1) and module.padding_mode == "zeros" and isinstance(module.padding, tuple)
        expected = "dilation=1, padding_mode='zeros', and padding as a number"
    elif isinstance(module, nn.MaxPool2d):
        plain = module.stride == module.kernel_size and (module.padding, module.dilation) == (0, 1)
        plain = plain and not module.ceil_mode
        expected = "a stride equal to the kernel_size, padding=0, dilation=1, ceil_mode=False"
    elif isinstance(module, nn.Flatten):
        plain, expected = (module.start_dim, module.end_dim) == (1, -1), "start_dim=1 and end_dim=-1"
    else:
        return
    if not plain:
        raise BadInput(f"layer {layer.name}: expected {expected}, got {module}")
