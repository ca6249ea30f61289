"""The training step in plain PyTorch, for any model and any loss."""

from typing import Protocol

import torch
from torch import Tensor, nn

from armdigits.training.adam import Adam
from armdigits.training.loss import Distillation, loss
from armdigits.training.processes import SINGLE, Group


class Step(Protocol):
    """One step of training.

    Attributes:
        state: the optimizer's tensors by name, for snapshots. Writing into them changes the optimizer.
    """

    state: dict[str, Tensor]

    def __call__(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None, learning_rate: float) -> Tensor:
        """Update the model with a batch: images float32 [N, 1, 28, 28], labels int64 [N], teacher's logits [N, 10].

        Returns:
            The logits float32 [N, 10] before the update, detached.
        """


class PlainStep:
    """Forward, loss, backward, Adam."""

    def __init__(self, model: nn.Module, distillation: Distillation | None = None, group: Group = SINGLE) -> None:
        """The model keeps its device; the teacher's logits come with each batch."""
        self.model, self.group = model, group
        self.loss_settings = (distillation.weight, distillation.temperature) if distillation else ()
        self.optimizer = Adam(model.parameters(), fused=True)
        self.state = _initial_state(model, self.optimizer)

    def __call__(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None, learning_rate: float) -> Tensor:
        """See `Step`."""
        self.optimizer.param_groups[0]["lr"] = learning_rate
        logits = self.backpropagate(images, labels, teacher_logits)
        for parameter in self.model.parameters():
            if parameter.grad is not None:
                self.group.all_reduce(parameter.grad)
        self.optimizer.step()
        return logits

    def backpropagate(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None) -> Tensor:
        """Set the model's gradients to those of the batch's mean loss; returns the logits, detached."""
        logits: Tensor = self.model(images)
        mean_loss = loss(logits, labels, teacher_logits, *self.loss_settings)
        self.model.zero_grad()
        (mean_loss / self.group.world_size).backward()
        return logits.detach()


def _initial_state(model: nn.Module, optimizer: torch.optim.Adam) -> dict[str, Tensor]:
    """Create Adam's state, which torch creates only in the first step, so that a snapshot can be restored into it."""
    state: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        moments = {key: torch.zeros_like(parameter.detach()) for key in ("exp_avg", "exp_avg_sq")}
        optimizer.state[parameter] = {"step": torch.zeros((), device=parameter.device), **moments}
        state |= {f"adam.{name}.{key}": tensor for key, tensor in optimizer.state[parameter].items()}
    return state
