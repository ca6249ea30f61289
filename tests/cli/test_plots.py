"""`armdigits plots`."""

import shutil
import sys

from armdigits.core.cache import objects_folder
from tests.helpers import run


def test_figures_of_another_commit_that_are_not_in_the_cache_are_named_in_one_line_with_a_remedy(ran):
    run(ran, "git", "add", "--all")
    run(ran, "git", "commit", "--quiet", "--message", "run")
    command = [sys.executable, "-m", "armdigits", "plots", "HEAD"]
    assert "plots: " not in run(ran, *command).stderr
    shutil.rmtree(objects_folder())
    done = run(ran, *command)
    first = done.stderr.splitlines()[0]
    assert first.startswith("plots: DVC's cache does not have metrics/") and "metrics/misclassified.png" in first
    assert first.endswith(
        " of HEAD; run: dvc fetch --all-commits, or without a remote: git switch --detach HEAD && dvc repro"
    )
    assert done.returncode == 0 and (ran / "dvc_plots" / "index.html").exists(), "the curves are in Git"


def test_a_commit_that_does_not_exist_is_one_line(ran):
    done = run(ran, sys.executable, "-m", "armdigits", "plots", "gone")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("plots: dvc.lock: not in gone (")
