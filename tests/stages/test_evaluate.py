import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from armdigits.core import paths
from armdigits.core.parameters import load_parameters
from armdigits.models.checkpoint import write_checkpoint
from armdigits.models.mlp import NeuralNetwork
from stages.evaluate import evaluate, misclassified
from tests.helpers import copy_project, run_stage_here, set_parameters, some_images, write_some_data

DIGITS = "0123456789"


@pytest.fixture
def project(folder: Path) -> Path:
    """A project with images of noise and an untrained model, which is the current folder."""
    copy_project(folder)
    write_some_data()
    torch.manual_seed(0)
    write_checkpoint(paths.MODEL, NeuralNetwork(), load_parameters(paths.PARAMETERS).train)
    return folder


def logits_for(predicted: list[int]) -> torch.Tensor:
    """Logits float32 [N, 10] of a model that is sure of these labels."""
    return torch.nn.functional.one_hot(torch.tensor(predicted), 10).float() * 5


def read(path: Path) -> dict[str, float]:
    """The content of a JSON file."""
    content: dict[str, float] = json.loads(path.read_text("utf-8"))
    return content


def test_the_metrics_equal_those_counted_by_hand() -> None:
    metrics, details = evaluate(logits_for([0, 1, 1, 1]), torch.tensor([0, 0, 1, 1]), DIGITS, "digits")
    classes = details.classes
    assert list(classes) == list(DIGITS)
    assert classes["0"].content() == pytest.approx({"precision": 1, "recall": 1 / 2, "f1": 2 / 3})
    assert classes["1"].content() == pytest.approx({"precision": 2 / 3, "recall": 1, "f1": 4 / 5})
    assert metrics.accuracy == 0.75
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 10), "classes without images count as 0"
    assert details.macro_precision == pytest.approx((1 + 2 / 3) / 10)
    assert details.macro_recall == pytest.approx((1 / 2 + 1) / 10)


def test_the_scores_have_the_names_of_the_classes() -> None:
    logits = torch.tensor([[2.0, 1, 0], [2, 1, 0], [0, 1, 2]])
    metrics, details = evaluate(logits, torch.tensor([0, 1, 2]), ["circle", "cross", "square"], "shapes")
    classes = details.classes
    assert {name: scores.f1 for name, scores in classes.items()} == pytest.approx(
        {"circle": 2 / 3, "cross": 0, "square": 1}
    )
    assert metrics.macro_f1 == pytest.approx((2 / 3 + 1) / 3)


def test_the_loss_is_torchs_cross_entropy() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(50, 10), torch.arange(50) % 10
    expected = torch.nn.functional.cross_entropy(logits, targets).item()
    assert evaluate(logits, targets, DIGITS, "digits")[0].loss == pytest.approx(expected, rel=1e-6)


def test_the_figure_shows_at_most_the_given_number_of_mistakes() -> None:
    split = some_images(20)
    logits = logits_for([1] * 20)
    few, many = (
        np.asarray(Image.open(io.BytesIO(misclassified(split, logits, count, DIGITS, "ink")))) for count in (4, 16)
    )
    assert many.shape[0] > few.shape[0], "two rows against one"
    first, second = (misclassified(split, logits, 4, DIGITS, "ink") for _ in range(2))
    assert first == second, "equal inputs give equal bytes"


def test_a_figure_without_mistakes_is_a_valid_png() -> None:
    split = some_images(20)
    picture = misclassified(split, logits_for(split.labels.tolist()), 4, DIGITS, "ink")
    assert Image.open(io.BytesIO(picture)).format == "PNG"


def test_the_stage_writes_metrics_details_and_predictions_that_agree(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_parameters(project, {"evaluate.min_accuracy": "0.0"})
    assert run_stage_here("evaluate") == 0
    metrics, details = read(paths.EVALUATE_METRICS), read(paths.EVALUATE_DETAILS)
    assert list(metrics) == ["accuracy", "loss", "macro_f1"]
    assert list(details) == [
        *("dataset", "test_images", "calibration_error", "macro_precision", "macro_recall", "classes")
    ]
    rows = list(csv.DictReader(paths.PREDICTIONS.read_text("utf-8").splitlines()))
    assert len(rows) == details["test_images"] == 30
    assert sum(row["actual"] == row["predicted"] for row in rows) / len(rows) == metrics["accuracy"]
    assert Image.open(io.BytesIO(paths.MISCLASSIFIED.read_bytes())).format == "PNG"
    assert all(len(line) <= 80 for line in capsys.readouterr().out.splitlines())


def test_classes_that_are_never_predicted_are_named(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_parameters(project, {"evaluate.min_accuracy": "0.0"})
    predicted = [label % 8 for label in range(30)]
    monkeypatch.setattr("stages.evaluate.model_logits", lambda *_: logits_for(predicted))
    assert run_stage_here("evaluate") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "warning: never predicted: 8, 9"


def test_too_low_an_accuracy_fails_after_all_outputs_are_written(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_parameters(project, {"evaluate.min_accuracy": "1.0"})
    assert run_stage_here("evaluate") == 1
    accuracy = read(paths.EVALUATE_METRICS)["accuracy"]
    assert capsys.readouterr().err == f"evaluate: accuracy {accuracy:.4f} is below evaluate.min_accuracy (1.0)\n"
    outputs = (paths.EVALUATE_DETAILS, paths.PREDICTIONS, paths.MISCLASSIFIED)
    assert all(path.exists() for path in outputs)


def test_a_perfect_score_on_many_images_fails(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = some_images(2000)
    monkeypatch.setattr("stages.evaluate.read_split", lambda _: split)
    monkeypatch.setattr("stages.evaluate.model_logits", lambda *_: logits_for(split.labels.tolist()))
    assert run_stage_here("evaluate") == 1
    expected = "evaluate: all 2,000 test images are correct: look for test images in the training data\n"
    assert capsys.readouterr().err == expected
