"""The loss of a batch. Change it here: any differentiable function works at once, for any model."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Distillation:
    """Knowledge distillation (G. Hinton, O. Vinyals, J. Dean, 2015).

    Attributes:
        teacher_logits: of the training images, float32 [N, 10].
        weight: the teacher's share of the loss, from 0 to 1; the labels have the rest.
        temperature: above 0; divides both sets of logits before they are compared.
    """

    teacher_logits: Tensor
    weight: float
    temperature: float


def loss(
    logits: Tensor,
    labels: Tensor,
    teacher_logits: Tensor | None = None,
    teacher_weight: float = 0.0,
    temperature: float = 1.0,
) -> Tensor:
    """The mean loss of a batch, in nats: cross-entropy with the labels and with the teacher's soft targets.

    The factor temperature^2 keeps the gradients of both terms in proportion (Hinton et al., section 2).

    Args:
        logits: float32 [N, 10].
        labels: int64 [N].
        teacher_logits: float32 [N, 10]; None leaves only the labels.
        teacher_weight: see `Distillation`.
        temperature: see `Distillation`.
    """
    hard = functional.cross_entropy(logits, labels)
    if teacher_logits is None:
        return hard
    soft_targets = (teacher_logits / temperature).softmax(1)
    soft = functional.cross_entropy(logits / temperature, soft_targets)
    return teacher_weight * temperature**2 * soft + (1 - teacher_weight) * hard
