"""The pipeline with the convolutional network, from the images to the benchmark, on the embedded digits."""

import json
from pathlib import Path

import pytest

from armdigits.core import paths
from tests.helpers import copy_project, run, set_parameters

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which the pipeline has run with `model.name: cnn`."""
    project = copy_project(tmp_path_factory.mktemp("cnn") / "project")
    set_parameters(project, {"model.name": "cnn"})
    done = run(project, "dvc", "init", "-q", "--no-scm")
    done = run(project, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    return project


def read(project: Path, path: Path) -> dict:
    content: dict = json.loads((project / path).read_text("utf-8"))
    return content


def test_it_is_accurate_and_int8_costs_little(project: Path) -> None:
    metrics, details = read(project, paths.QUANTIZE_METRICS), read(project, paths.QUANTIZE_DETAILS)
    assert metrics["int8"]["accuracy"] > 0.9
    assert abs(details["accuracy_drop"]) < 0.02
    assert metrics["int8"]["bytes"] < 0.3 * details["programs"]["fp32.pte"]["bytes"]
    assert read(project, paths.TRAIN_METRICS)["parameters"] == 98_698


def test_every_proof_holds_and_each_layer_has_its_noise(project: Path) -> None:
    details = read(project, paths.QUANTIZE_DETAILS)
    assert all(holds for checks in details["proofs"].values() for holds in checks.values())
    assert list(details["layers"]) == ["conv1", "conv2", "conv3", "linear1", "linear2"]
    assert all(15 < layer["sqnr_db"] < 60 for layer in details["layers"].values())


def test_the_c_source_gives_equal_logits_on_every_target(project: Path) -> None:
    metrics, details = read(project, paths.EXPORT_METRICS), read(project, paths.EXPORT_DETAILS)
    assert metrics["equal_logits"] == details["compared"] > 2 * 360 * 10
    assert len([each for each in details.values() if isinstance(each, dict) and "instructions" in each]) == 6


def test_the_benchmark_has_all_variants(project: Path) -> None:
    assert {"int8", "c"} <= set(read(project, paths.BENCHMARK_METRICS)["batch_1"])


def test_the_card_has_the_layers_of_the_network(project: Path) -> None:
    text = (project / paths.MODEL_CARD).read_text("utf-8")
    assert "with 98,698 parameters" in text
    assert (
        "| `conv2` | `Conv2d(16, 32, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))` | 32 x 14 x 14 | 4,640 |"
        in text
    )


def test_another_network_is_another_training_and_the_checkpoint_of_the_first_is_refused(project: Path) -> None:
    before = (project / paths.PARAMETERS).read_text("utf-8")
    set_parameters(project, {"model.name": "mlp"})
    try:
        listed = run(project, "dvc", "status").stdout
        assert "train:" in listed and "teach:" not in listed
        done = run(project, "python", "-m", "stages.evaluate")
        assert done.returncode == 2
        assert done.stderr == (
            "evaluate: models/model.safetensors: made with another model.name than that in params.yaml; "
            "run: dvc repro --force train\n"
        )
    finally:
        (project / paths.PARAMETERS).write_text(before, "utf-8")


def test_an_unknown_network_is_refused_before_anything_is_removed(project: Path) -> None:
    before = (project / paths.PARAMETERS).read_text("utf-8")
    set_parameters(project, {"model.name": "cnm"})
    try:
        done = run(project, "dvc", "repro")
        assert done.returncode != 0
        assert "preflight: params.yaml: model.name: expected one of mlp, cnn, got 'cnm'\n" in done.stderr
        assert (project / paths.MODEL).exists()
    finally:
        (project / paths.PARAMETERS).write_text(before, "utf-8")
