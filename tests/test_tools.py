"""The programs for people: the results table, the choice of the data set, make repro."""

import hashlib
import json
import subprocess
import sys

import pytest
import yaml

from armdigits import paths
from armdigits.errors import BadInput
from armdigits.parameters import load_parameters
from tests.conftest import ROOT, copy_project, run, set_parameters
from tools.results import BEGIN, END, render, table, with_table
from tools.select_dataset import select


def committed(path: str) -> str:
    """A file as it stands in the last commit."""
    done = subprocess.run(["git", "show", f"HEAD:{path}"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no commit holds {path}")
    return done.stdout


def test_the_table_has_a_row_a_variant_and_its_conditions(ran):
    text = table()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["variant", "accuracy", "bytes", "p50 latency, batch 1", "ratio to eager [95 %]"]
    assert [row[0] for row in rows[2:]] == ["eager fp32", "fused fp32 program", "int8 program"]
    assert rows[4][2] == f"{paths.INT8_PROGRAM.stat().st_size:,}"
    for word in ("digits, 360 test images", "threads: 1", "torch 2.13.0", "ExecuTorch", "torchao"):
        assert word in text


def test_metrics_of_two_data_sets_make_no_table(ran):
    metrics = json.loads(paths.QUANTIZE_METRICS.read_text())
    paths.QUANTIZE_METRICS.write_text(json.dumps({**metrics, "dataset": "mnist"}))
    with pytest.raises(BadInput, match=r"metrics/: of different data sets \(digits, mnist\); run: dvc repro"):
        table()


def test_the_readme_keeps_all_but_its_table():
    text = f"before\n{BEGIN}old\n{END}after\n"
    assert with_table(text, "new\n") == f"before\n{BEGIN}new\n{END}after\n"
    with pytest.raises(BadInput, match=r"README.md: the lines .* are missing"):
        with_table("no markers", "new\n")


def test_the_committed_readme_shows_the_committed_metrics():
    metrics = [json.loads(committed(f"metrics/{name}.json")) for name in ("train", "evaluate", "quantize", "benchmark")]
    assert with_table(committed("README.md"), render(*metrics)) == committed("README.md"), "run: make readme"


def test_the_committed_metrics_are_those_of_the_committed_lock():
    """And of the full MNIST."""
    stages = yaml.safe_load(committed("dvc.lock"))["stages"]
    recorded = {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}
    kept = [path for path in recorded if path.startswith("metrics/") and not path.endswith(".png")]
    assert len(kept) >= 8
    for path in kept:
        assert hashlib.md5(committed(path).encode(), usedforsecurity=False).hexdigest() == recorded[path], path
    assert json.loads(committed("metrics/evaluate.json"))["dataset"] == "mnist"
    assert json.loads(committed("metrics/evaluate.json"))["test_images"] == 10_000


def test_choosing_a_data_set_changes_its_values_and_keeps_the_comments(folder):
    original = (ROOT / "params.yaml").read_text()
    (folder / "params.yaml").write_text(original)
    changes = select("digits")
    assert "dataset.name: mnist -> digits" in changes
    assert load_parameters(paths.PARAMETERS).dataset.name == "digits"
    comments = [line.split("#")[1:] for line in original.splitlines()]
    assert [line.split("#")[1:] for line in (folder / "params.yaml").read_text().splitlines()] == comments
    select("mnist")
    assert (folder / "params.yaml").read_text() == original
    assert select("mnist") == []


@pytest.mark.parametrize("argument", [[], ["cifar"], ["mnist", "digits"]])
def test_an_unknown_data_set_is_refused(folder, argument):
    done = run(ROOT, sys.executable, "-m", "tools.select_dataset", *argument)
    assert done.returncode == 2
    assert done.stderr == "select_dataset: expected one argument: mnist or digits\n"


def test_make_repro_goes_on_with_digits_and_says_so(ran):
    """A machine that sees no mirror gets a table all the same, and params.yaml shows why it is another one.

    DVC's cache has most of what the digits need: this is about the way, not about the stages.
    """
    set_parameters(ran, {"dataset.name": "mnist"})
    done = run(ran, sys.executable, "-m", "tools.reproduce", DATA_MIRROR="gone", HTTPS_PROXY="http://127.0.0.1:1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "download: gone: No such file or directory" in done.stderr
    assert "Going on with scikit-learn's embedded digits instead." in done.stdout
    assert "dataset.name: mnist -> digits" in done.stdout
    assert "Back to MNIST, when a mirror or DATA_MIRROR is there: make mnist repro" in done.stdout
    assert "digits, 360 test images" in done.stdout
    assert "name: digits" in (ran / "params.yaml").read_text()


def test_make_repro_passes_other_failures_on(tmp_path):
    project = copy_project(tmp_path / "project")
    set_parameters(project, {"train.epochs": "0"})
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        assert run(project, *command).returncode == 0
    done = run(project, sys.executable, "-m", "tools.reproduce")
    assert done.returncode != 0
    assert "params.yaml: train.epochs: expected" in done.stderr
    assert "Going on" not in done.stdout
