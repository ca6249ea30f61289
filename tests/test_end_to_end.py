"""The whole pipeline under DVC, on scikit-learn's digits, in a temporary Git repository: what runs again, and when."""

import json
from pathlib import Path

import pytest

from armdigits.core import paths
from tests.helpers import results, run, run_stage, set_parameters, started
from tests.test_pipeline import STAGES, outs

EVERYTHING = [name for name in STAGES if name != "preflight"]


def computed(output: str) -> list[str]:
    """The stages that `dvc repro` started, in order, without the one that always runs."""
    first, *others = started(output)
    assert first == "preflight"
    return others


def repro(project: Path, *targets: str) -> list[str]:
    """Run `dvc repro`; returns the stages whose command ran."""
    done = run(project, "dvc", "repro", *targets)
    assert done.returncode == 0, done.stdout + done.stderr
    return computed(done.stdout)


def test_the_first_run_runs_everything(pipeline):
    assert sorted(computed(pipeline.with_name("repro.txt").read_text("utf-8"))) == sorted(EVERYTHING)


def test_what_the_stages_print_fits_80_columns(pipeline):
    lines = pipeline.with_name("repro.txt").read_text("utf-8").splitlines()
    assert lines
    assert not [line for line in lines if len(line) > 80]


def test_nothing_runs_again_when_nothing_changed(ran):
    assert repro(ran) == []


def test_a_run_leaves_only_the_lock_and_the_metrics_to_commit(ran):
    status = run(ran, "git", "status", "--porcelain", "--untracked-files=all").stdout
    new = {line[3:] for line in status.splitlines()}
    names = "benchmark.json benchmark-details.json disagreements.csv evaluate.json export.json history.csv host.json "
    names += "predictions.csv preflight.json quantize.json teacher.json train.json"
    assert new == {"dvc.lock", "data/checksums.txt", *(f"metrics/{name}" for name in names.split())}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("evaluate.misclassified", "8", ["evaluate"]),
        ("quantize.max_batch", "32", ["quantize", "export", "describe", "benchmark"]),
    ],
)
def test_a_changed_parameter_runs_only_the_stages_that_depend_on_it(ran, key, value, stages):
    """For changes of `train` and `benchmark` see test_branches.py."""
    set_parameters(ran, {key: value})
    assert sorted(repro(ran)) == sorted(stages)


@pytest.mark.slow
@pytest.mark.parametrize(("key", "changed"), [("compute.device", True), ("train.threads", False)])
def test_of_the_parameters_of_train_only_the_device_concerns_teach(ran, key, changed):
    set_parameters(ran, {key: {"compute.device": "auto", "train.threads": "2"}[key]})
    assert ("params.yaml" in run(ran, "dvc", "status", "teach").stdout) is changed


@pytest.mark.slow
def test_the_teacher_is_trained_where_its_logits_count_and_not_again_for_another_weight(ran):
    def after(**values):
        set_parameters(ran, {f"train.{name}": value for name, value in values.items()})
        return repro(ran, "train"), json.loads((ran / paths.TEACH_DETAILS).read_bytes())

    set_parameters(ran, {"teach.seed": "2"})
    nothing = {"dataset": "digits", "teacher": None}
    assert after(teacher_weight="0.0", temperature="1.0") == (["teach", "train"], nothing)
    stages, metrics = after(teacher_weight="0.7", temperature="3.0")
    assert (stages, metrics["teacher"]["parameters"]) == (["teach", "train"], 156_154)
    assert after(teacher_weight="0.5") == (["train"], metrics)


@pytest.mark.slow
def test_a_change_of_the_data_runs_every_stage_up_to_evaluate_and_reverting_it_runs_none(ran):
    before = (ran / "params.yaml").read_text("utf-8")
    set_parameters(ran, {"dataset.validation": "100"})
    assert repro(ran, "evaluate") == ["download", "teach", "train", "evaluate"]
    (ran / "params.yaml").write_text(before, "utf-8")
    assert repro(ran) == []


def test_an_invalid_parameter_removes_no_result(ran):
    before = (ran / "params.yaml").read_text("utf-8")
    kept = {path: path.read_bytes() for path in ran.glob("m*/*") if path.is_file()}
    set_parameters(ran, {"train.epochs": "0", "dataset.validation": "100"})
    done = run(ran, "dvc", "repro")
    (ran / "params.yaml").write_text(before, "utf-8")
    assert done.returncode != 0
    assert "params.yaml: train.epochs: input should be greater than or equal to 1, got 0" in done.stderr
    assert all(path.exists() and path.read_bytes() == content for path, content in kept.items())
    assert repro(ran) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in STAGES if name != "benchmark"])
def test_a_stage_alone_gives_the_same_bytes_as_under_dvc(ran, name):
    before = results(ran)
    for path in outs(STAGES[name]):
        (ran / path).unlink()
    done = run_stage(ran, name)
    assert done.returncode == 0, done.stderr
    assert results(ran) == before


@pytest.mark.slow
def test_every_plot_is_drawn(ran):
    done = run(ran, "dvc", "plots", "show", "--out", "plots")
    page = (ran / "plots/index.html").read_text("utf-8")
    assert done.returncode == 0, done.stderr
    for title in ("Training and validation loss", "Validation accuracy", "Confusion matrix of the test images"):
        assert title in page
    for picture in ("misclassified.png", "latency.png"):
        assert picture in page
