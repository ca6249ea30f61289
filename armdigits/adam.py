"""Adam (D. Kingma, J. Ba, 2015) on all weights of a network at once.

The arithmetic is that of `torch.optim.Adam(fused=True)`: the same kernel, called by its own name. What the class does
around it, at each step and for each tensor, takes half as long again with a network of this size; here the weights
are one tensor, and so are their gradients.
"""

import torch
from torch import nn


class Adam:
    """The optimizer of one network, with torch's default settings (beta 0.9 and 0.999, epsilon 1e-8).

    Attributes:
        gradient: float32 [number of weights]; the network's parameters have their parts of it as `grad`.
        state: the tensors that a training needs to go on, by name. Whoever writes into them changes the optimizer.
    """

    def __init__(self, network: nn.Module) -> None:
        """The network's parameters become views of one tensor. They keep their values and their device."""
        parameters = list(network.parameters())
        sizes = [parameter.numel() for parameter in parameters]
        self._values = torch.empty(sum(sizes), device=parameters[0].device)
        self.gradient = torch.zeros_like(self._values)
        self.state = {
            "adam.mean": torch.zeros_like(self._values),
            "adam.square": torch.zeros_like(self._values),
            "adam.steps": torch.zeros((), device=self._values.device),
        }
        self._one = torch.ones_like(self.state["adam.steps"])  # adding a tensor is three times as fast as adding 1
        parts = zip(parameters, self._values.split(sizes), self.gradient.split(sizes), strict=True)
        for parameter, value, gradient in parts:
            shape, strides = parameter.shape, parameter.stride()  # a convolution's weight may lie channels last
            parameter.data = value.as_strided(shape, strides).copy_(parameter.detach())
            parameter.grad = gradient.as_strided(shape, strides)

    def step(self, learning_rate: float) -> None:
        """Move the weights by what `gradient` says."""
        mean, square, steps = self.state.values()
        steps += self._one
        torch._fused_adam_(
            [self._values], [self.gradient], [mean], [square], [], [steps],
            lr=learning_rate, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip
