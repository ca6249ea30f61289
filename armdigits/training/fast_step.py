"""The training step of a perceptron with its gradient written out: the same step as step.py's, several times faster.

For small batches and layers, autograd and the optimizer's bookkeeping take more time than the arithmetic. This file
is optional: delete it together with its line in `choose_step` (step.py), and everything trains with the plain step.

It repeats the loss by hand, so before a training begins it is compared with `loss.loss` through autograd. Where they
disagree, because somebody has changed the loss or the model, the plain step is used and a line says so.
"""

import re

import torch
from torch import Tensor, nn
from torch.nn import functional

from armdigits.training.loss import Distillation, loss
from armdigits.training.processes import SINGLE, Group

PERCEPTRON = re.compile("Flatten( Linear ReLU (Dropout|Identity))* Linear")
TOLERANCE = 1e-4  # of the largest gradient


def fast_step(model: nn.Module, distillation: Distillation | None = None, group: Group = SINGLE) -> "FastStep | None":
    """The fast step for `model`, or None where it does not apply or does not compute the gradient of `loss.loss`."""
    layers = list(model.children())
    kinds = " ".join(type(layer).__name__ for layer in layers)
    rates = {layer.p if isinstance(layer, nn.Dropout) else 0.0 for layer in layers[3:-1:3]}
    if not PERCEPTRON.fullmatch(kinds) or len(rates) > 1:
        return None
    step = FastStep(model, distillation, group)
    difference = step.difference_to_autograd()
    if difference <= TOLERANCE:
        return step
    if group.rank == 0:
        print(f"fast_step.py differs from loss.py by {difference:.1%} of a gradient: training with the plain step")
    return None


class FastStep:
    """Flatten, then linear layers, each but the last followed by ReLU and dropout of one rate."""

    def __init__(self, model: nn.Module, distillation: Distillation | None = None, group: Group = SINGLE) -> None:
        """The model's parameters become views of one tensor. They keep their values and their device."""
        layers = list(model.children())
        linears = [layer for layer in layers if isinstance(layer, nn.Linear)]
        self._model, self._group, self._distillation = model, group, distillation
        self._adam = FlatAdam(model)
        self.state = self._adam.state
        # The tensors of each layer, looked up once: nn.Module's lookup takes longer than some of the arithmetic.
        self._weights = [linear.weight.detach() for linear in linears]
        *self._hidden, self._last = [(linear.bias.detach(), linear.weight.detach().t()) for linear in linears]
        self._gradients = [(linear.weight.grad, linear.bias.grad) for linear in linears]
        self._dropout = layers[3].p if len(linears) > 1 and isinstance(layers[3], nn.Dropout) else 0.0
        self._one_hot = torch.eye(linears[-1].out_features, device=linears[-1].weight.device)

    def __call__(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None, learning_rate: float) -> Tensor:
        """See `step.Step`."""
        logits = self._backpropagate(images, labels, teacher_logits)
        self._group.all_reduce(self._adam.gradient)
        self._adam.step(learning_rate)
        return logits

    def _backpropagate(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None) -> Tensor:
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

    def difference_to_autograd(self) -> float:
        """The largest difference to the gradient of `loss.loss` on a random batch, as a share of the largest gradient.

        The state of the random number generators is restored.
        """
        device = self._one_hot.device
        distillation = self._distillation
        with torch.random.fork_rng():
            torch.manual_seed(0)
            images, labels = torch.rand(8, 1, 28, 28).to(device), torch.arange(8).to(device)
            teacher_logits = torch.randn(8, len(self._one_hot)).to(device) if distillation else None
            settings = (distillation.weight, distillation.temperature) if distillation else ()
            torch.manual_seed(1)
            self._adam.gradient.zero_()
            was_training = self._model.training
            logits = self._model.train()(images)
            (loss(logits, labels, teacher_logits, *settings) / self._group.world_size).backward()
            self._model.train(was_training)
            expected = self._adam.gradient.clone()
            torch.manual_seed(1)  # the same activations are dropped
            self._backpropagate(images, labels, teacher_logits)
        return float((self._adam.gradient - expected).abs().max() / expected.abs().max())


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
