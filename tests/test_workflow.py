"""Workflows, hooks and Makefile name what exists. zizmor and the schema of the workflows are part of `make lint`."""

import re
import tomllib

import pytest
import yaml

from armdigits.cli import VERBS
from tests.helpers import ROOT

WORKFLOWS = ROOT / ".github" / "workflows"
INSTALL = "python3 -m pip install --constraint constraints.txt pydantic pyyaml"  # for the jobs without our environment
JOBS, SWEEP = (yaml.safe_load((WORKFLOWS / name).read_text("utf-8"))["jobs"] for name in ("pipeline.yml", "sweep.yml"))
STEPS = [step for jobs in (JOBS, SWEEP) for job in jobs.values() for step in job["steps"]]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")


def recipe(verb: str) -> list[str]:
    """The commands of a verb of make, with the folder of the environment filled in."""
    lines = re.search(rf"^{verb}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)[1].splitlines()
    return [line.strip().removeprefix("@").replace("$(BIN)", ".venv/bin") for line in lines]


def test_the_pipeline_runs_on_arm_and_on_x86():
    assert JOBS["pipeline"]["strategy"]["matrix"]["runner"] == ["ubuntu-24.04-arm", "ubuntu-24.04"]


def test_the_tests_run_on_the_oldest_and_on_the_newest_python_on_arm_and_on_x86():
    versions = {step["with"]["python-version"] for name in ("pipeline", "newest") for step in setups(name)}
    assert versions == {"3.11", "3.13"}
    assert JOBS["newest"]["strategy"]["matrix"] == JOBS["pipeline"]["strategy"]["matrix"]


def setups(job: str) -> list[dict]:
    return [step for step in JOBS[job]["steps"] if "setup-python" in step.get("uses", "")]


@pytest.mark.parametrize("action", [step["uses"] for step in STEPS if "uses" in step])
def test_every_action_is_pinned_to_a_commit(action):
    assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action)


@pytest.mark.parametrize("command", sorted({step["run"] for step in STEPS if "run" in step} - {INSTALL}))
def test_every_command_is_a_verb_of_make_or_armdigits_or_a_check_of_ours(command):
    """No logic in YAML: each step is one line, which runs anywhere."""
    if command.startswith("make "):
        words = [word for word in command.split(">>")[0].split()[1:] if not word.startswith("-")]
        assert all(re.search(rf"^{word}:", MAKEFILE, re.MULTILINE) for word in words)
    elif ".py" in command:
        assert (ROOT / command.split()[-1]).exists()
    else:
        assert re.match(r"(?:\.venv/bin/|python3 -m )armdigits (\w+)", command)[1] in VERBS


@pytest.mark.parametrize("verb", re.findall(r"\$\(BIN\)/armdigits (\w+)", MAKEFILE))
def test_make_calls_verbs_of_armdigits_that_exist(verb):
    assert verb in VERBS


def test_recipes_name_their_programs_by_path():
    """make 3.81 (macOS) starts a simple command with the PATH that make was started with."""
    commands = re.findall(r"^\t@?(\S+)", MAKEFILE, re.MULTILINE)
    assert len(commands) > 20
    assert not [word for word in commands if re.match(r"python|dvc|armdigits|ruff|mypy|zizmor|check-", word)]


def test_the_hooks_before_a_commit_are_the_checks_of_make_lint():
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert [hook["entry"] for hook in repository["hooks"]] == recipe("lint")


def test_lint_checks_the_schema_of_every_workflow():
    (command,) = [line for line in recipe("lint") if "github-workflows" in line]
    assert command.split()[3:] == sorted(str(path.relative_to(ROOT)) for path in WORKFLOWS.iterdir())


def test_dvcs_results_are_cached_by_architecture_and_downloads_by_their_checksums():
    for steps in (JOBS["pipeline"]["steps"], SWEEP["experiment"]["steps"]):
        keys = {step["with"]["path"]: step["with"]["key"] for step in steps if "cache@" in step.get("uses", "")}
        assert "${{ runner.arch }}" in keys[".dvc/cache"]
        (source,) = re.findall(r"hashFiles\('(.*?)'\)", keys[".state/downloads"])
        assert (ROOT / source).name == "sources.py"
        assert (ROOT / source).exists()


def test_a_sweep_passes_its_values_through_the_environment():
    """In the command itself they would be a template injection."""
    job = SWEEP["experiment"]
    assert job["env"]["SET"] == "train.seed=${{ matrix.seed }} train.learning_rate=${{ matrix.learning_rate }}"
    assert ".venv/bin/armdigits experiment $SET" in [step.get("run") for step in job["steps"]]


def test_every_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    names = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in needed}
    pins = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in pins if not line.startswith("#")}
    assert names <= pinned
