import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from stages.evaluate import evaluate, misclassified
from tests.conftest import run_stage_here, set_parameters, some_images


def logits_for(predicted: list[int]) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(predicted), 10).float() * 5


def test_the_figures_are_those_of_a_count_by_hand():
    metrics = evaluate(logits_for([0, 1, 1, 1]), torch.tensor([0, 0, 1, 1]))
    assert metrics["accuracy"] == 0.75
    assert metrics["classes"]["0"] == pytest.approx({"precision": 1, "recall": 1 / 2, "f1": 2 / 3})
    assert metrics["classes"]["1"] == pytest.approx({"precision": 2 / 3, "recall": 1, "f1": 4 / 5})
    assert metrics["macro_recall"] == pytest.approx((0.5 + 1) / 10), "classes that never occur count as 0"


def test_the_loss_is_torchs_cross_entropy():
    torch.manual_seed(0)
    logits, targets = torch.randn(50, 10), torch.arange(50) % 10
    expected = torch.nn.functional.cross_entropy(logits, targets).item()
    assert evaluate(logits, targets)["loss"] == pytest.approx(expected, rel=1e-6)


def test_the_picture_shows_the_mistakes_and_no_more_than_asked():
    split = some_images(20)
    logits = logits_for([1] * 20)
    few, many = (np.asarray(Image.open(io.BytesIO(misclassified(split, logits, count)))) for count in (4, 16))
    assert many.shape[0] > few.shape[0], "two rows against one"
    assert misclassified(split, logits, 4) == misclassified(split, logits, 4), "the same bytes again"


def test_without_a_mistake_there_is_still_a_picture():
    split = some_images(20)
    picture = misclassified(split, logits_for(split.labels.tolist()), 4)
    assert Image.open(io.BytesIO(picture)).format == "PNG"


def test_too_low_an_accuracy_fails_after_the_metrics_are_written(ran, capsys):
    set_parameters(ran, {"evaluate.min_accuracy": "1.0"})
    (ran / "metrics/evaluate.json").unlink()
    assert run_stage_here("evaluate") == 1
    accuracy = json.loads((ran / "metrics/evaluate.json").read_text())["accuracy"]
    assert capsys.readouterr().err == f"evaluate: accuracy {accuracy:.4f} is below evaluate.min_accuracy (1.0)\n"


def test_the_predictions_agree_with_the_accuracy(pipeline):
    rows = [row.split(",") for row in (pipeline / "metrics/predictions.csv").read_text().splitlines()[1:]]
    metrics = json.loads((pipeline / "metrics/evaluate.json").read_text())
    assert len(rows) == metrics["test_images"] == 360
    assert sum(actual == predicted for actual, predicted in rows) / 360 == metrics["accuracy"]
