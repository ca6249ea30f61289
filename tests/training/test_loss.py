import pytest
import torch
from torch.nn import functional

from armdigits.training.loss import loss

LOGITS, TEACHER = torch.randn(2, 50, 10, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(50) % 10


def test_without_a_teacher_it_is_the_cross_entropy_with_the_labels():
    assert torch.equal(loss(LOGITS, LABELS), functional.cross_entropy(LOGITS, LABELS))


@pytest.mark.parametrize(("weight", "temperature"), [(0.9, 3.0), (0.5, 1.0), (1.0, 0.5)])
def test_with_a_teacher_its_gradient_is_that_of_hintons_loss(weight, temperature):
    """Hinton's loss has the Kullback-Leibler divergence, which differs from cross-entropy by a constant."""

    def gradient(value: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad(value, logits)[0]

    logits = LOGITS.clone().requires_grad_()
    softened = (logits / temperature).log_softmax(1)
    divergence = functional.kl_div(softened, (TEACHER / temperature).softmax(1), reduction="batchmean")
    labels_alone = functional.cross_entropy(logits, LABELS)
    expected = gradient(weight * temperature**2 * divergence + (1 - weight) * labels_alone, logits)
    found = gradient(loss(logits, LABELS, TEACHER, weight, temperature), logits)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-7)


def test_a_teacher_without_weight_changes_nothing():
    torch.testing.assert_close(loss(LOGITS, LABELS, TEACHER, 0.0, 3.0), loss(LOGITS, LABELS))
