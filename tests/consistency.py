"""The committed files come from one run: README.md's table, metrics/, params.yaml, dvc.yaml and dvc.lock.

    python -m pytest tests/consistency.py

Not part of `make test`: it fails while a change is in progress and the pipeline has not run yet. `.ci/run` runs it
before the pipeline.
"""

import hashlib
from functools import reduce
from typing import Any

import pytest
import yaml

from armdigits.core.parameters import load_parameters
from armdigits.report.results import BEGIN, END, table
from tests.helpers import PARAMETERS as PARAMETERS_OF_THE_TESTS
from tests.helpers import ROOT

LOCK = yaml.safe_load((ROOT / "dvc.lock").read_text("utf-8"))["stages"]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
PARAMETERS = load_parameters(ROOT / "params.yaml").model_dump()
REMEDY = "run: make repro && make readme, and commit README.md, dvc.lock and metrics/"


def parameter(key: str) -> Any:
    return reduce(lambda section, name: section[name], key.split("."), PARAMETERS)


def test_the_table_in_the_readme_is_that_of_the_committed_metrics(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert (ROOT / "README.md").read_text("utf-8").partition(BEGIN)[2].partition(END)[0] == table(), REMEDY


@pytest.mark.parametrize("name", STAGES)
def test_the_lock_was_written_with_these_commands_and_parameters(name):
    assert LOCK[name]["cmd"] == STAGES[name]["cmd"].replace("${train.processes}", str(parameter("train.processes")))
    for key, value in LOCK[name].get("params", {}).get("params.yaml", {}).items():
        assert parameter(key) == value, f"{key}; {REMEDY}"


def test_the_lock_names_the_committed_metrics():
    committed = {out["path"]: out["md5"] for stage in LOCK.values() for out in stage["outs"]}
    for path in sorted((ROOT / "metrics").glob("*.[jc]s*")):
        name = str(path.relative_to(ROOT))
        assert committed[name] == hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(), f"{name}; {REMEDY}"


def test_the_parameters_of_the_tests_have_the_keys_of_params_yaml():
    of_the_tests = load_parameters(PARAMETERS_OF_THE_TESTS).model_dump()
    assert {name: set(section) for name, section in of_the_tests.items()} == {
        name: set(section) for name, section in PARAMETERS.items()
    }
