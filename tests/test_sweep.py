"""A sweep as README.md describes it: two workers on this machine, another machine, one table. Real git, real dvc."""

import json
import re
import shutil
import statistics
import sys
import time
from pathlib import Path

import pytest

from armdigits.errors import BadInput
from tests.conftest import ROOT, run
from tests.test_branches import ask, commit
from tools.sweep import read, table


def wait_for_the_queue(project: Path) -> None:
    limit = time.monotonic() + 120
    while re.search("Queued|Running", status := ask(project, "dvc queue status")):
        assert time.monotonic() < limit, status
        time.sleep(0.5)


@pytest.fixture(scope="module")
def swept(pipeline, tmp_path_factory) -> Path:
    """A project with two experiments from its queue, and a third that ran in a clone and came back."""
    folder = tmp_path_factory.mktemp("sweep")
    project = shutil.copytree(pipeline, folder / "project")
    shutil.rmtree(project / ".state")
    ask(project, "git init --quiet --initial-branch main")
    ask(project, "dvc init --quiet")
    ask(project, f"dvc remote add --default storage {folder / 'storage'}")
    ask(project, "dvc commit --force")
    commit(project, "first")
    ask(project, "dvc push")
    ask(project, "dvc exp run --queue -S train.seed=1,2 -S train.epochs=2 evaluate")
    ask(project, "dvc queue start --jobs 2")
    wait_for_the_queue(project)

    clone = folder / "clone"
    ask(folder, f"git clone --quiet {project} {clone}")
    ask(clone, "dvc pull")
    ask(clone, "dvc exp run --name elsewhere -S train.epochs=3 evaluate")
    ask(clone, "dvc exp push origin elsewhere")
    return project


def accuracy_of(project: Path, experiment: str) -> float:
    return json.loads(ask(project, f"git show {experiment}:metrics/evaluate.json"))["accuracy"]


def test_the_table_has_mean_and_deviation_over_the_seeds_of_each_setting(swept):
    names = {
        experiment["name"]: experiment["revs"][0]["data"]["params"]["params.yaml"]["data"]["train"]["epochs"]
        for experiment in json.loads(ask(swept, "dvc exp show --json"))[1]["experiments"]
    }
    refs = dict(reversed(line.split()) for line in ask(swept, "git show-ref").splitlines() if "refs/exps/" in line)
    found = {ref.rpartition("/")[2]: accuracy_of(swept, digest) for ref, digest in refs.items()}
    two, (three,) = ([found[name] for name, epochs in names.items() if epochs == count] for count in (2, 3))
    assert len(two) == 2 and len(set(two)) == 2, "the seeds make a difference"
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in ask(swept, "python -m tools.sweep").splitlines()
    ]
    assert rows[0] == ["train.epochs", "n", "accuracy %", "int8 accuracy %"]
    expected = {
        "2": ["2", f"{100 * statistics.mean(two):.2f} ± {100 * statistics.stdev(two):.2f}"],
        "3": ["1", f"{100 * three:.2f}"],
    }
    assert {row[0]: row[1:3] for row in rows[2:4]} == expected


def test_workers_have_workspaces_of_their_own_and_leave_this_one_alone(swept):
    assert ask(swept, "git status --short") == ""
    assert not (swept / ".state").exists()


def test_what_another_machine_wrote_is_read_from_its_file(swept, tmp_path):
    (tmp_path / "one.json").write_text(ask(swept, "dvc exp show --json"))
    assert ask(swept, f"python -m tools.sweep {tmp_path / 'one.json'}") == ask(swept, "python -m tools.sweep")


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
        "| ---: | ---: | ---: | ---: |",
        "| 0.2 | 1 | 95.00 | 94.00 |",
        "| 0.1 | 2 | 92.00 ± 2.83 | 91.00 ± 2.83 |",
    ]


def test_experiments_without_a_result_are_counted_by_state():
    states = ("failed", "queued", "queued", "running")
    runs, without = read(shown(*(experiment(None, state, seed=1) for state in states)), "dvc")
    assert runs == []
    assert without == {"failed": 1, "queued": 2, "running": 1}


@pytest.mark.parametrize("text", ["", "[{}]", "3", '[{"experiments": [{}]}]', "[1]"])
def test_a_file_that_is_none_of_dvcs_is_refused(text):
    with pytest.raises(BadInput, match=r"one.json: not what dvc exp show --json writes"):
        read(text, "one.json")


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ("--all", "expected files that dvc exp show --json wrote, or nothing, got --all"),
        ("gone.json", "gone.json: cannot be read (No such file or directory)"),
    ],
)
def test_arguments_that_are_no_files_get_one_line(folder, argument, line):
    done = run(ROOT, sys.executable, "-m", "tools.sweep", argument)
    assert (done.returncode, done.stderr) == (2, f"sweep: {line}\n")
