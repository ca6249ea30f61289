"""`armdigits tutorial`."""

import json
import sys

import pytest
from ruamel.yaml import YAML

from armdigits.cli.tutorial import RECIPE, table
from armdigits.core import files, paths
from armdigits.core.errors import BadInput
from armdigits.core.parameters import load_parameters
from tests.helpers import PARAMETERS, run, set_parameters


def figures(**sides: float) -> dict:
    """The output of `dvc metrics diff --all --json`, with the same accuracy in each column."""
    return {
        "metrics/train.json": {"validation_accuracy": sides, "dataset": {"old": "mnist", "new": "digits"}},
        "metrics/evaluate.json": {"accuracy": sides},
        "metrics/quantize.json": {"int8.accuracy": sides},
    }


def test_the_table_has_the_tutorials_figures_above_this_projects():
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table(json.dumps(figures(old=0.978, new=0.9912))).splitlines()
    ]
    assert header == ["recipe", "data set", "validation", "fp32, test", "int8, test"]
    assert rows == [
        ["tutorial's recipe", "mnist", "97.80 %", "97.80 %", "97.80 %"],
        ["this project's", "digits", "99.12 %", "99.12 %", "99.12 %"],
    ]


def test_a_figure_that_is_missing_is_a_dash():
    assert table("{}").count(" - ") == 8


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', "[" * 100_000])
def test_other_output_of_dvc_is_one_line(text):
    with pytest.raises(BadInput, match=r"^dvc metrics diff: .*$"):
        table(text)


def test_the_recipe_is_the_tutorials_and_valid(folder):
    """Adam at 0.001, dropout of 0.2, nothing else; the parameters' reader accepts it."""
    content = YAML(typ="safe", pure=True).load(PARAMETERS.read_text("utf-8"))
    for key, text in RECIPE.items():
        section, name = key.split(".")
        assert name in content[section], key
        content[section][name] = YAML(typ="safe", pure=True).load(text)
    files.write_json(folder / paths.PARAMETERS, content)  # JSON is YAML
    parameters = load_parameters(paths.PARAMETERS)
    train = parameters.train
    assert (train.learning_rate, train.schedule, train.dropout) == (0.001, "constant", 0.2)
    assert train.teacher_weight == 0
    assert not parameters.augmentation.is_on()


@pytest.mark.slow
def test_it_runs_as_an_experiment_that_leaves_the_workspace_alone_and_replaces_the_last_one(ran):
    set_parameters(ran, {"evaluate.min_accuracy": "0.8"})
    for command in (["git", "add", "--all"], ["git", "commit", "--quiet", "--message", "run"]):
        assert run(ran, *command).returncode == 0
    printed = []
    for _ in range(2):
        done = run(ran, sys.executable, "-m", "armdigits", "tutorial")
        assert done.returncode == 0, done.stdout + done.stderr
        printed.append([line for line in done.stdout.splitlines() if line.startswith("|")])
        assert run(ran, "git", "status", "--short").stdout == ""
    first, second = printed
    assert first == second
    assert [line.split("|")[2].strip() for line in first] == ["data set", "--------", "digits", "digits"]
    assert first[2].split("|")[3:] != first[3].split("|")[3:]
    assert run(ran, "dvc", "exp", "list", "--name-only").stdout.split() == ["tutorial"]
    assert run(ran, "dvc", "params", "diff", "tutorial", "--targets", "params.yaml").returncode == 0
