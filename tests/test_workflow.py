"""The workflows call what exists here. zizmor and the schema of workflows are part of `make lint`."""

import re

import pytest
import yaml

from tests.conftest import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
JOBS, SWEEP = (yaml.safe_load((WORKFLOWS / name).read_text())["jobs"] for name in ("pipeline.yml", "sweep.yml"))
STEPS = [step for jobs in (JOBS, SWEEP) for job in jobs.values() for step in job["steps"]]


def test_it_runs_on_arm_and_on_x86():
    assert JOBS["pipeline"]["strategy"]["matrix"]["runner"] == ["ubuntu-24.04-arm", "ubuntu-24.04"]


@pytest.mark.parametrize("action", [step["uses"] for step in STEPS if "uses" in step])
def test_every_action_is_pinned_by_its_commit(action):
    assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action)


@pytest.mark.parametrize("command", [step["run"] for step in STEPS if "run" in step])
def test_every_command_is_a_verb_or_a_tool_of_this_project(command):
    """No logic in YAML: one line, which runs here too."""
    if command.startswith("make "):
        verbs = [word for word in command.split(">>")[0].split()[1:] if not word.startswith("-")]
        makefile = (ROOT / "Makefile").read_text()
        assert all(re.search(rf"^{verb}:", makefile, re.MULTILINE) for verb in verbs)
    else:
        tool = re.match(r"python3 -m tools\.(\w+) ", command)[1]
        assert (ROOT / "tools" / f"{tool}.py").exists()


def test_what_the_caches_hold_of_one_architecture_does_not_reach_the_other():
    for steps in (JOBS["pipeline"]["steps"], SWEEP["experiment"]["steps"]):
        keys = {step["with"]["path"]: step["with"]["key"] for step in steps if "cache@" in step.get("uses", "")}
        assert "${{ runner.arch }}" in keys[".dvc/cache"]
        assert "armdigits/sources.py" in keys[".state/downloads"]


def test_a_sweep_hands_its_values_to_make_as_it_would_here():
    job = SWEEP["experiment"]
    assert job["env"]["SET"] == "train.seed=${{ matrix.seed }} train.learning_rate=${{ matrix.learning_rate }}"
    assert "python -m tools.experiment $(SET)" in (ROOT / "Makefile").read_text()
