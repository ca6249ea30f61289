"""The whole pipeline under DVC, on the embedded digits, in a temporary Git repository: what runs again, and when."""

import os
import re
from pathlib import Path

import pytest

from tests.conftest import copy_project, run, set_parameters

EVERYTHING = ["download", "teach", "train", "evaluate", "quantize", "describe", "benchmark"]


def repro(project: Path) -> list[str]:
    """Run `dvc repro`; returns the stages whose command ran, in order, but for the one that runs every time."""
    done = run(project, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    ran = re.findall(r"Running stage '(\w+)'", done.stdout)
    assert ran[0] == "preflight"
    return ran[1:]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project under Git and DVC, run once from nothing."""
    project = copy_project(tmp_path_factory.mktemp("end-to-end") / "project")
    for command in (
        ["git", "init", "-q", "-b", "main"],
        ["git", "config", "user.name", "tester"],
        ["git", "config", "user.email", "tester@example.invalid"],
        ["dvc", "init", "-q"],
        ["git", "add", "."],
        ["git", "commit", "-q", "-m", "start"],
    ):
        assert run(project, *command).returncode == 0
    assert sorted(repro(project)) == sorted(EVERYTHING)
    return project


def test_nothing_runs_again_when_nothing_changed(project):
    assert repro(project) == []


def test_only_text_and_no_data_is_left_for_git(project):
    status = run(project, "git", "status", "--porcelain", "--untracked-files=all").stdout
    new = {line[3:] for line in status.splitlines()}
    names = "benchmark.json disagreements.csv evaluate.json history.csv host.json predictions.csv preflight.json "
    names += "quantize.json teach.json train.json"
    assert new == {"dvc.lock", *(f"metrics/{name}" for name in names.split())}


@pytest.mark.parametrize(
    ("key", "value", "stages"),
    [
        ("benchmark.rounds", "9", ["benchmark"]),
        ("evaluate.misclassified", "8", ["evaluate"]),
        ("quantize.calibration_samples", "20", ["quantize", "describe", "benchmark"]),
        ("train.epochs", "3", ["train", "evaluate", "quantize", "describe", "benchmark"]),
        ("dataset.validation", "100", EVERYTHING),
    ],
)
def test_a_change_runs_what_depends_on_it_and_going_back_only_the_benchmark(project, key, value, stages):
    before = (project / "params.yaml").read_text()
    set_parameters(project, {key: value})
    assert sorted(repro(project)) == sorted(stages)
    (project / "params.yaml").write_text(before)
    again = repro(project)
    assert again == (["benchmark"] if "benchmark" in stages else [])


def test_another_machine_runs_the_benchmark_again_and_nothing_else(project):
    """Another machine is imitated by another number of cores, which the kernel grants to this process alone."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this test needs Linux and two cores")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert repro(project) == ["benchmark"]
    finally:
        os.sched_setaffinity(0, before)
    assert repro(project) == ["benchmark"]


def test_a_mistake_in_the_parameters_costs_no_result(project):
    before = (project / "params.yaml").read_text()
    kept = {path: path.read_bytes() for path in project.glob("m*/*") if path.is_file()}
    set_parameters(project, {"train.epochs": "0", "dataset.validation": "100"})
    done = run(project, "dvc", "repro")
    (project / "params.yaml").write_text(before)
    assert done.returncode != 0
    assert "params.yaml: train.epochs: expected a whole number of at least 1" in done.stderr
    preflight = {project / "metrics/host.json", project / "metrics/preflight.json"}
    assert {path for path in kept if not path.exists()} <= preflight
    assert all(path.read_bytes() == kept[path] for path in set(kept) - preflight)
    assert repro(project) == []


def test_a_stage_alone_gives_the_same_bytes_as_under_dvc(project, pipeline):
    for folder in ("data", "models", "metrics"):
        for path in (project / folder).iterdir():
            if path.name not in ("benchmark.json", "latency.png"):
                assert path.read_bytes() == (pipeline / folder / path.name).read_bytes(), path


def test_every_plot_is_drawn(project):
    done = run(project, "dvc", "plots", "show", "--out", "plots")
    page = (project / "plots/index.html").read_text()
    assert done.returncode == 0, done.stderr
    for title in ("Training and validation loss", "Validation accuracy", "Confusion matrix of the test images"):
        assert title in page
    for picture in ("misclassified.png", "latency.png"):
        assert picture in page
