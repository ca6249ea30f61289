"""The training step in plain PyTorch, for any model and any loss."""

from typing import Protocol

from torch import Tensor, nn

from armdigits.core.parameters import Recipe
from armdigits.training.loss import Distillation, loss
from armdigits.training.optimizer import load_tensors, not_resumable, optimizer_of, tensors_after_a_step, tensors_of
from armdigits.training.processes import SINGLE, Group


class Step(Protocol):
    """One step of training."""

    def __call__(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None, learning_rate: float) -> Tensor:
        """Update the model with a batch: images float32 [N, C, H, W], labels int64 [N], teacher's logits.

        Returns:
            The logits float32 [N, classes] before the update, detached.
        """

    def state(self) -> dict[str, Tensor]:
        """The optimizer's tensors by name, for snapshots; before the first step, those that it will have after it."""

    def resume(self, state: dict[str, Tensor]) -> None:
        """Continue with the optimizer's tensors in `state`, which `state()` has returned in another process."""


class PlainStep:
    """Forward, loss, backward, optimizer."""

    def __init__(
        self,
        model: nn.Module,
        distillation: Distillation | None = None,
        group: Group = SINGLE,
        recipe: Recipe | None = None,
    ) -> None:
        """The model keeps its device; the teacher's logits come with each batch.

        Raises:
            Failure: a training with this optimizer could not be resumed.
        """
        self.model, self.group = model, group
        self.loss_settings = (distillation.weight, distillation.temperature) if distillation else ()
        self.optimizer = optimizer_of(model, recipe)
        self._after_a_step = tensors_after_a_step(self.optimizer)

    def __call__(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None, learning_rate: float) -> Tensor:
        """See `Step`."""
        for options in self.optimizer.param_groups:
            options["lr"] = learning_rate
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

    def state(self) -> dict[str, Tensor]:
        """See `Step`. Parameters that get no gradient have their tensors after the first step, which change nothing."""
        tensors = tensors_of(self.optimizer)
        if later := tensors.keys() - self._after_a_step.keys():
            raise not_resumable(self.optimizer, f"it makes {min(later)} after its first step")
        return {**self._after_a_step, **tensors}

    def resume(self, state: dict[str, Tensor]) -> None:
        """See `Step`."""
        load_tensors(self.optimizer, {name: state[name] for name in self._after_a_step})
