"""`armdigits sweep`: two workers on this machine, another machine, one table. Real git, real dvc."""

import json
import re
import shutil
import statistics
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest
import yaml

from armdigits.cli.exp_show import left_over
from armdigits.cli.sweep import read, table
from armdigits.cli.sweep import run as sweep_files
from armdigits.core import paths
from armdigits.core.errors import BadInput
from tests.helpers import ROOT, run, started
from tests.test_branches import ask, commit


def wait_for_the_queue(project: Path) -> None:
    limit = time.monotonic() + 120
    while re.search("Queued|Running", status := ask(project, "dvc queue status")):
        assert time.monotonic() < limit, status
        time.sleep(0.5)


class Sweep:
    """Two experiments from the queue of one machine, by two workers, and a third on another machine."""

    def __init__(self, pipeline: Path, folder: Path) -> None:
        self.project = project = shutil.copytree(pipeline, folder / "project")
        shutil.rmtree(project / ".state")
        ask(project, "dvc remote add --default storage", folder / "storage")
        commit(project, "first")
        ask(project, "dvc push")
        ask(project, "dvc exp run --queue -S train.seed=1,3 -S train.epochs=1 evaluate")
        ask(project, "dvc queue start --jobs 2")
        wait_for_the_queue(project)
        self.left_behind = ask(project, "git status --short"), (project / ".state").exists()
        self.table_here = ask(project, "python -m armdigits sweep")
        ask(project, "python -m armdigits sweep --save", folder / "here.json")

        clone = folder / "clone"
        ask(folder, "git clone --quiet -c user.name=t -c user.email=t@x.invalid", project, clone)
        self.run_there = ask(clone, "python -m armdigits experiment evaluate.misclassified=9")
        ask(clone, "python -m armdigits sweep --save", folder / "there.json")
        self.table_of_both = ask(clone, "python -m armdigits sweep", folder / "here.json", folder / "there.json")
        self.accuracy_there = json.loads((clone / "metrics/evaluate.json").read_text("utf-8"))["accuracy"]
        self.picture_there = (clone / paths.MISCLASSIFIED).read_bytes()
        self.stored = [path.read_bytes() for path in (folder / "storage").rglob("*") if path.is_file()]

    def accuracies_here(self) -> list[float]:
        """Those of the queue's experiments, from their commits."""
        commits = [line.split()[0] for line in ask(self.project, "git show-ref").splitlines() if "refs/exps/" in line]
        metrics = [json.loads(ask(self.project, f"git show {each}:metrics/evaluate.json")) for each in commits]
        epochs = [
            yaml.safe_load(ask(self.project, f"git show {each}:params.yaml"))["train"]["epochs"] for each in commits
        ]
        return [each["accuracy"] for each, count in zip(metrics, epochs, strict=True) if count == 1]


@pytest.fixture(scope="module")
def sweep(pipeline, tmp_path_factory) -> Sweep:
    return Sweep(pipeline, tmp_path_factory.mktemp("sweep"))


def cells(markdown: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in markdown.splitlines() if "|" in line]


@pytest.mark.slow
def test_the_table_has_mean_and_deviation_over_the_seeds(sweep):
    accuracies = sweep.accuracies_here()
    assert len(accuracies) == 2 and len(set(accuracies)) == 2, "the seeds make a difference"
    header, _, row = cells(sweep.table_here)
    assert header == ["n", "accuracy %", "int8 accuracy %"]
    spread = f"{100 * statistics.mean(accuracies):.2f} ± {100 * statistics.stdev(accuracies):.2f}"
    assert row == ["2", spread, "-"], "quantize did not run"


@pytest.mark.slow
def test_experiments_of_several_machines_make_one_table(sweep):
    header, _, *rows = cells(sweep.table_of_both)
    assert header == ["train.epochs", "evaluate.misclassified", "n", "accuracy %", "int8 accuracy %"]
    assert {tuple(row[:3]) for row in rows} == {("1", "40", "2"), ("10", "9", "1")}
    assert {row[0]: row[3] for row in rows}["10"] == f"{100 * sweep.accuracy_there:.2f}"
    assert {row[0]: row[4] == "-" for row in rows} == {"1": True, "10": False}


@pytest.mark.slow
def test_workers_run_in_their_own_folders_and_leave_the_workspace_alone(sweep):
    assert sweep.left_behind == ("", False)


@pytest.mark.slow
def test_machines_share_their_results_through_the_remote(sweep):
    assert set(started(sweep.run_there)) == {"preflight", "evaluate"}, "the rest came from the remote"
    assert sweep.picture_there in sweep.stored


def experiment(accuracy: float | None, state: str | None = "success", **train: object) -> dict:
    """An experiment as DVC shows it, with the int8 program a hundredth less accurate."""
    metrics = {"metrics/evaluate.json": {"data": {"accuracy": accuracy}}}
    metrics["metrics/quantize.json"] = {"data": {"int8": {"accuracy": accuracy and accuracy - 0.01}}}
    content = {"params": {"params.yaml": {"data": {"train": train}}}, "metrics": metrics}
    data = content if accuracy else None
    return {"name": "a-name", "executor": state and {"state": state}, "revs": [{"data": data}]}


def shown(*experiments: dict) -> str:
    return json.dumps([{"experiments": None}, {"experiments": experiments}])


def test_the_best_setting_comes_first_and_the_same_run_twice_counts_once():
    runs, _ = read(
        shown(
            experiment(0.9, seed=1, rate=0.1, epochs=3),
            experiment(0.9, seed=1, rate=0.1, epochs=3),
            experiment(0.94, None, seed=2, rate=0.1, epochs=3),
            experiment(0.95, seed=1, rate=0.2, epochs=3),
        ),
        "dvc",
    )
    assert table(runs).splitlines() == [
        "| train.rate | n | accuracy % | int8 accuracy % |",
        "| --: | --: | --: | --: |",
        "| 0.2 | 1 | 95.00 | 94.00 |",
        "| 0.1 | 2 | 92.00 ± 2.83 | 91.00 ± 2.83 |",
    ]


LOCK = {
    "train": {"params": {"params.yaml": {"train": {"seed": 1}}}, "outs": [{"path": "model", "md5": "1"}]},
    "quantize": {
        "deps": [{"path": "model", "md5": "1"}, {"path": "code", "md5": "2"}],
        "params": {"params.yaml": {"quantize.max_batch": 8}},
        "outs": [{"path": "metrics", "md5": "3"}],
    },
}


@pytest.mark.parametrize(
    ("seed", "model", "max_batch", "expected"),
    [(1, "1", 8, []), (1, "another", 8, ["metrics"]), (1, "1", 9, ["metrics"]), (2, "1", 8, ["model"])],
)
def test_the_outputs_of_stages_that_did_not_run_are_found_in_the_lock(seed, model, max_batch, expected):
    train = {**LOCK["train"], "outs": [{"path": "model", "md5": model}]}
    values = {"train.seed": seed, "quantize.max_batch": max_batch}
    assert left_over({"stages": {**LOCK, "train": train}}, values) == expected


def test_experiments_without_a_result_are_counted_by_state():
    states = ("failed", "queued", "queued", "running")
    runs, without = read(shown(*(experiment(None, state, seed=1) for state in states)), "dvc")
    assert runs == []
    assert without == {"failed": 1, "queued": 2, "running": 1}


def test_a_state_cannot_control_the_terminal(folder, capsys):
    Path("one.json").write_text(shown(experiment(None, "\x1b[2J", seed=1)), "utf-8")
    sweep_files(Namespace(files=["one.json"], save=None))
    assert r"Without a result: 1 \x1b[2J (" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["", "[{}]", "3", '[{"experiments": [{}]}]', "[1]", "[" * 100_000])
def test_a_file_that_dvc_did_not_write_is_refused(text):
    with pytest.raises(BadInput, match=r"one.json: not the output of dvc exp show --json"):
        read(text, "one.json")


@pytest.mark.parametrize("metrics", [{"int8": 1}, {"int8": {"accuracy": "high"}}, {"int8": {"accuracy": None}}, {}])
def test_an_experiment_of_another_version_has_no_accuracy_where_it_is_not_a_number(metrics):
    content = experiment(0.9, seed=1)
    content["revs"][0]["data"]["metrics"]["metrics/quantize.json"] = {"data": metrics}
    runs, _ = read(shown(content), "dvc")
    assert table(runs).splitlines()[-1] == "| 1 | 90.00 | - |"


def test_a_missing_file_is_one_line(folder):
    done = run(ROOT, sys.executable, "-m", "armdigits", "sweep", "gone.json")
    assert (done.returncode, done.stderr) == (2, "sweep: gone.json: cannot be read (No such file or directory)\n")
