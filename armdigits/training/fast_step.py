"""The training step of a perceptron with its gradient written out: 1.6 to 2 times as fast as the plain step.

For small batches and layers, autograd and the optimizer's bookkeeping take more time than the arithmetic. This file
is optional: to remove it, delete it with its tests, and let loop.py use `PlainStep` instead of `choose_step`.

It repeats the loss and the optimizer by hand, so before each training it is compared with the plain step. If they
differ, because one of them was changed, the plain step is used and a line is printed.
"""

import copy
import re

import torch
from torch import Tensor, nn
from torch.nn import functional

from armdigits.training.loss import Distillation
from armdigits.training.processes import SINGLE, Group
from armdigits.training.step import PlainStep, Step

PERCEPTRON = re.compile("Flatten( Linear ReLU (Dropout|Identity))* Linear")
TOLERANCE = 1e-4  # of the largest gradient, and of the learning rate for an update


def choose_step(model: nn.Module, distillation: Distillation | None = None, group: Group = SINGLE) -> Step:
    """The fast step for a perceptron, as long as it equals the plain step; otherwise the plain step."""
    if not _is_perceptron(model):
        return PlainStep(model, distillation, group)
    difference = difference_to_plain_step(model, distillation)
    if difference <= TOLERANCE:
        return FastStep(model, distillation, group)
    if group.rank == 0:
        print(f"fast_step.py differs from the plain step by {difference:.1%}: training with the plain step")
    return PlainStep(model, distillation, group)


def _is_perceptron(model: nn.Module) -> bool:
    """Whether `FastStep` applies: the layers, one dropout rate, a bias in each layer, nothing frozen."""
    layers = list(model.children())
    kinds = " ".join(type(layer).__name__ for layer in layers)
    rates = {layer.p if isinstance(layer, nn.Dropout) else 0.0 for layer in layers[3:-1:3]}
    has_biases = all(layer.bias is not None for layer in layers if isinstance(layer, nn.Linear))
    is_trainable = all(parameter.requires_grad for parameter in model.parameters())
    return bool(PERCEPTRON.fullmatch(kinds)) and len(rates) <= 1 and has_biases and is_trainable


def difference_to_plain_step(model: nn.Module, distillation: Distillation | None) -> float:
    """The largest relative difference between two fast and two plain steps on random batches.

    Differences of gradients are relative to the largest gradient, those of updates to the learning rate. Works on
    copies of the model, and restores the state of the random number generators.
    """
    fast_model, plain_model = copy.deepcopy(model).train(), copy.deepcopy(model).train()
    fast, plain = FastStep(fast_model, distillation), PlainStep(plain_model, distillation)
    device, rate, classes = next(model.parameters()).device, 0.1, len(fast._one_hot)
    inputs = fast._weights[0].shape[1]
    shares: list[Tensor] = []
    with torch.random.fork_rng():
        for seed in (0, 1):  # Adam's betas have no effect on the first update
            torch.manual_seed(seed)
            images, labels = torch.rand(8, 1, 1, inputs).to(device), (torch.arange(8) % classes).to(device)
            teacher_logits = torch.randn(8, classes).to(device) if distillation else None
            torch.manual_seed(2)
            fast.backpropagate(images, labels, teacher_logits)
            torch.manual_seed(2)  # both drop the same activations
            plain(images, labels, teacher_logits, rate)
            gradients = [parameter.grad for parameter in plain_model.parameters()]
            gradient = torch.cat([each.flatten() for each in gradients if each is not None])
            shares.append((fast.adam.gradient - gradient).abs().max() / gradient.abs().max())
            fast.adam.gradient.copy_(gradient)
            fast.adam.step(rate)
            for one, other in zip(fast_model.parameters(), plain_model.parameters(), strict=True):
                shares.append((one - other).detach().abs().max() / rate)
                one.data.copy_(other)  # the next gradients are compared at equal weights
    return max(share.item() for share in shares)


class FastStep:
    """The step for Flatten, then linear layers, each but the last followed by ReLU and dropout of one rate.

    Attributes:
        adam: the optimizer, which holds the gradient.
        state: see `step.Step`.
    """

    def __init__(self, model: nn.Module, distillation: Distillation | None = None, group: Group = SINGLE) -> None:
        """The model's parameters become views of one tensor. They keep their values and their device."""
        layers = list(model.children())
        linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
        self._group, self._distillation = group, distillation
        self.adam = FlatAdam(model)
        self.state = self.adam.state
        # The tensors of each layer, looked up once: nn.Module's lookup takes longer than some of the arithmetic.
        self._weights = [linear.weight.detach() for linear in linears]
        *self._hidden, self._last = [(linear.bias.detach(), linear.weight.detach().t()) for linear in linears]
        self._gradients = [(linear.weight.grad, linear.bias.grad) for linear in linears]
        self._dropout = layers[3].p if len(linears) > 1 and isinstance(layers[3], nn.Dropout) else 0.0
        self._one_hot = torch.eye(linears[-1].out_features, device=linears[-1].weight.device)

    def __call__(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None, learning_rate: float) -> Tensor:
        """See `step.Step`."""
        logits = self.backpropagate(images, labels, teacher_logits)
        self._group.all_reduce(self.adam.gradient)
        self.adam.step(learning_rate)
        return logits

    def backpropagate(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None) -> Tensor:
        """Write the gradient of the batch's mean loss into `FlatAdam.gradient`; returns the logits."""
        output = images.flatten(1)
        inputs = [output]  # of each layer
        for bias, transposed in self._hidden:
            output = torch.addmm(bias, output, transposed).relu_()
            if self._dropout:
                output = functional.dropout(output, self._dropout)
            inputs.append(output)
        bias, transposed = self._last
        logits = torch.addmm(bias, output, transposed)
        gradient = self._gradient_at_logits(logits, labels, teacher_logits)
        for layer in reversed(range(len(self._weights))):
            of_weight, of_bias = self._gradients[layer]
            torch.mm(gradient.t(), inputs[layer], out=of_weight)
            torch.sum(gradient, 0, out=of_bias)
            if layer:
                # An input is positive where its ReLU was active and dropout kept it, and 0 elsewhere.
                gradient = (gradient @ self._weights[layer]).mul_(inputs[layer].sign())
                if self._dropout:
                    gradient /= 1 - self._dropout
        return logits

    def _gradient_at_logits(self, logits: Tensor, labels: Tensor, teacher_logits: Tensor | None) -> Tensor:
        """The gradient of `loss.loss` at the logits, float32 [N, 10]: of a cross-entropy, softmax - targets."""
        gradient = logits.softmax(1).sub_(self._one_hot.index_select(0, labels))
        if teacher_logits is not None and self._distillation is not None:
            weight, temperature = self._distillation.weight, self._distillation.temperature
            soft = (logits / temperature).softmax(1).sub_((teacher_logits / temperature).softmax(1))
            gradient.mul_(1 - weight).add_(soft, alpha=weight * temperature)
        return gradient.div_(len(labels) * self._group.world_size)


class FlatAdam:
    """Adam (D. Kingma, J. Ba, 2015) on all parameters of a model at once, with torch's default settings.

    Attributes:
        gradient: float32 [number of parameters]; each parameter's `grad` is a view of its part.
        state: the optimizer's tensors by name.
    """

    def __init__(self, model: nn.Module) -> None:
        """The parameters become views of one tensor."""
        parameters = list(model.parameters())
        sizes = [parameter.numel() for parameter in parameters]
        self._values = torch.cat([parameter.detach().flatten() for parameter in parameters])
        self.gradient = torch.zeros_like(self._values)
        self.state = {
            "adam.exp_avg": torch.zeros_like(self._values),
            "adam.exp_avg_sq": torch.zeros_like(self._values),
            "adam.step": torch.zeros((), device=self._values.device),
        }
        self._one = torch.ones_like(self.state["adam.step"])  # adding a tensor is three times as fast as adding 1
        parts = zip(parameters, self._values.split(sizes), self.gradient.split(sizes), strict=True)
        for parameter, values, gradient in parts:
            parameter.data = values.view(parameter.shape)
            parameter.grad = gradient.view(parameter.shape)

    def step(self, learning_rate: float) -> None:
        """Update the parameters with `gradient`.

        The private `torch._fused_adam_` is the kernel of `torch.optim.Adam(fused=True)`: the public class computes
        the same and takes twice the time around it for a model of this size.
        """
        exp_avg, exp_avg_sq, step = self.state.values()
        step += self._one
        torch._fused_adam_(
            [self._values], [self.gradient], [exp_avg], [exp_avg_sq], [], [step],
            lr=learning_rate, beta1=0.9, beta2=0.999, eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False,
        )  # fmt: skip
