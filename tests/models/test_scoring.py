import pytest
import torch

from armdigits.models.mlp import NeuralNetwork
from armdigits.models.scoring import (
    accuracy,
    activations_of,
    calibration_error,
    confident_mistakes,
    cross_entropy,
    model_logits,
)
from tests.helpers import some_images


def test_logits_are_those_of_evaluation_mode_and_the_mode_is_restored() -> None:
    model, pixels = NeuralNetwork(dropout=0.5), some_images(1100).pixels()
    expected = model.eval()(pixels)
    assert torch.allclose(model_logits(model.train(), pixels), expected, atol=1e-6)
    assert model.training


def test_activations_are_those_after_each_relu_and_the_logits() -> None:
    model, pixels = NeuralNetwork(use_dropout=False).eval(), some_images(20).pixels()
    first = model.relu1(model.linear1(model.flatten(pixels)))
    second = model.relu2(model.linear2(first))
    expected = {"linear1": first, "linear2": second, "linear3": model.linear3(second)}
    found = activations_of(model, pixels)
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_accuracy_and_cross_entropy_agree_with_torch() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(50, 10), torch.arange(50) % 10
    assert accuracy(logits, targets) == (logits.argmax(1) == targets).sum().item() / 50
    assert cross_entropy(logits, targets) == pytest.approx(torch.nn.functional.cross_entropy(logits, targets).item())


def test_mistakes_come_in_the_order_of_their_confidence() -> None:
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [3.0, 0.0], [0.0, 9.0]])
    positions, predicted, confidence = confident_mistakes(logits, torch.tensor([1, 1, 1, 1]))
    assert positions.tolist() == [2, 0, 1]
    assert predicted.tolist() == [0, 0, 0]
    assert confidence.tolist() == pytest.approx(torch.tensor([3.0, 2.0, 1.0]).sigmoid().tolist())


def test_the_calibration_error_is_the_mean_difference_of_the_bins() -> None:
    """Three predictions in a bin at 0.88, two of them right, and one in another at 0.5 plus a little, wrong."""
    odds = torch.tensor([0.88, 0.88, 0.88, 0.51])
    logits = torch.stack([odds.log(), (1 - odds).log()], 1)
    expected = (3 * abs(0.88 - 2 / 3) + 0.51) / 4
    assert calibration_error(logits, torch.tensor([0, 0, 1, 1])) == pytest.approx(expected, abs=1e-6)
    assert calibration_error(1000 * logits, torch.tensor([0, 0, 0, 0])) == pytest.approx(0, abs=1e-6)
