"""Branches, as README.md describes them: real git, real dvc, one history for all tests."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.helpers import ROOT, run, set_parameters, started
from tests.test_pipeline import STAGES

pytestmark = pytest.mark.slow


def ask(project: Path, command: str, *arguments: object) -> str:
    """Run a command that must succeed, with arguments that may have spaces; returns its output."""
    done = run(project, *command.split(), *map(str, arguments))
    assert done.returncode == 0, f"{command} {arguments}\n{done.stdout}{done.stderr}"
    return done.stdout


def commit(project: Path, message: str) -> None:
    ask(project, "git add --all")
    ask(project, f"git commit --quiet --message {message}")


def parameter(project: Path, section: str, key: str) -> object:
    return yaml.safe_load((project / "params.yaml").read_text("utf-8"))[section][key]


class History:
    """A project with a remote in a folder, a branch `shorter` with fewer epochs, an experiment, a merge, a clone."""

    def __init__(self, project: Path) -> None:
        self.project = project
        folder = project.parent
        ask(project, "dvc remote add --default storage", folder / "storage")
        commit(project, "first")
        ask(project, "dvc push")

        ask(project, "git switch --quiet --create shorter")
        set_parameters(project, {"train.epochs": "4"})
        self.branch_run = ask(project, "dvc repro")
        commit(project, "shorter")
        self.unchanged = ask(project, "python -m armdigits summary HEAD")
        self.metrics_diff = ask(project, "dvc metrics diff main --md")
        self.metrics_diff_on_a_terminal = ask(project, "dvc metrics diff main")
        self.params_diff = ask(project, "dvc params diff main --md")
        self.summary = ask(project, "python -m armdigits summary main")
        ask(project, "dvc plots diff main")

        self.experiment_run = ask(project, "dvc exp run --name quick --set-param benchmark.rounds=9")
        self.shown = ask(project, "dvc exp show --csv")
        command = re.search(r"^(dvc exp show .*)  #", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
        assert command
        done = run(project, *shlex.split(command[1]), "--no-pager", COLUMNS="120")
        assert done.returncode == 0, done.stderr
        self.shown_at_120_columns = done.stdout
        self.exp_diff = ask(project, "dvc exp diff HEAD quick --md")
        ask(project, "git restore .")
        self.rounds_before = parameter(project, "benchmark", "rounds")
        ask(project, "dvc exp apply quick")
        self.rounds_after = parameter(project, "benchmark", "rounds")
        ask(project, "git restore .")

        ask(project, "git switch --quiet main")
        set_parameters(project, {"evaluate.misclassified": "8"})
        ask(project, "dvc repro")
        commit(project, "fewer")
        self.merge = run(project, "git", "merge", "shorter")
        (project / "dvc.lock").unlink()
        self.merge_run = ask(project, "dvc repro")
        commit(project, "merged")
        ask(project, "dvc push")

        self.clone = folder / "clone"
        ask(folder, "git clone --quiet", project, self.clone)
        ask(self.clone, "dvc pull")
        self.clone_run = ask(self.clone, "dvc repro")


@pytest.fixture(scope="module")
def history(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> History:
    folder = tmp_path_factory.mktemp("branches")
    return History(shutil.copytree(pipeline, folder / "project"))


def test_on_a_branch_only_what_depends_on_the_change_runs(history):
    assert set(started(history.branch_run)) == {*STAGES} - {"download", "teach"}


def test_metrics_and_parameters_are_compared_with_main(history):
    assert re.search(r"train\.epochs\s*\|\s*10\s*\|\s*4\b", history.params_diff)
    for name in ("metrics/train.json", "metrics/evaluate.json", "metrics/quantize.json", "metrics/benchmark.json"):
        assert name in history.metrics_diff, "its metrics differ"


def test_one_page_shows_the_plots_of_both_commits(history):
    page = (history.project / "dvc_plots" / "index.html").read_text("utf-8")
    assert "main" in page and "workspace" in page
    assert "Confusion matrix of the test images" in page


def test_the_summary_has_a_table_for_timings_alone(history):
    parts = dict(re.findall(r"## (\S+)[^\n]*\n\n(.*?)(?=\n## |\Z)", history.summary, re.DOTALL))
    assert list(parts) == ["Results", "Metrics", "Timings", "Parameters", "Host"]
    assert "metrics/evaluate.json" in parts["Metrics"] and "benchmark.json" not in parts["Metrics"]
    assert "batch_1.int8.p50_us" in parts["Timings"] and "evaluate.json" not in parts["Timings"]
    assert "train.epochs" in parts["Parameters"]
    assert "Not available" not in history.summary


def test_the_summary_of_an_unchanged_commit_says_so_for_metrics_timings_and_parameters(history):
    assert history.unchanged.count("No changes.") == 3


def test_an_experiment_runs_what_it_changes_and_can_be_applied(history):
    assert set(started(history.experiment_run)) == {"preflight", "benchmark"}
    assert "quick" in history.shown and "benchmark.rounds" in history.shown
    assert "benchmark.rounds" in history.exp_diff
    assert (history.rounds_before, history.rounds_after) == (8, 9)


def test_experiments_and_metrics_fit_120_columns(history):
    """The first with the command of README.md."""
    assert re.search(r"Experiment +benchmark.rounds *\n", history.shown_at_120_columns)
    lines = [*history.shown_at_120_columns.splitlines(), *history.metrics_diff_on_a_terminal.splitlines()]
    assert max(map(len, lines)) <= 120


def test_after_a_merge_conflict_in_the_lock_a_run_computes_only_new_combinations(history):
    """The lock is deleted; DVC's run cache has the training of the branch."""
    assert history.merge.returncode != 0
    assert "CONFLICT" in history.merge.stdout and "dvc.lock" in history.merge.stdout
    assert set(started(history.merge_run)) == {"preflight", "evaluate", "benchmark"}
    assert parameter(history.project, "train", "epochs") == 4
    assert parameter(history.project, "evaluate", "misclassified") == 8
    assert not any("<<<<<<<" in path.read_text("utf-8") for path in (history.project / "metrics").glob("*.[jc]s*"))


def test_a_clone_that_has_pulled_runs_only_preflight(history):
    """On the same machine, not even the benchmark."""
    assert set(started(history.clone_run)) == {"preflight"}
    for name in ("models/int8.pte", "data/test.safetensors", "metrics/latency.png"):
        assert (history.clone / name).read_bytes() == (history.project / name).read_bytes()


def test_on_another_machine_a_clone_computes_only_the_benchmark(history):
    """A process that may use one core of several counts as another machine."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}
    if len(cores) == 1:
        pytest.skip("one core: there is no smaller machine")

    bind = f"import os; os.sched_setaffinity(0, {{{min(cores)}}}); os.execvp('dvc', ['dvc', 'repro'])"
    done = run(history.clone, sys.executable, "-c", bind)
    assert done.returncode == 0, done.stderr
    assert set(started(done.stdout)) == {"preflight", "benchmark"}
