"""`armdigits reproduce`, which is `make repro`."""

import sys

from tests.helpers import copy_project, run, set_parameters


def test_without_a_mirror_it_runs_on_the_embedded_digits_and_says_so(ran):
    """A machine that reaches no mirror gets a table all the same, and params.yaml shows why it is another one.

    DVC's cache has most of what the digits need: this is about the way, not about the stages.
    """
    set_parameters(ran, {"dataset.name": "mnist"})
    command = [sys.executable, "-m", "armdigits", "reproduce"]
    done = run(ran, *command, DATA_MIRROR="gone", HTTPS_PROXY="http://127.0.0.1:1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "download: gone: No such file or directory" in done.stderr
    assert "The pipeline runs on scikit-learn's embedded digits instead." in done.stdout
    assert "dataset.name: mnist -> digits" in done.stdout
    assert "Back to MNIST, with a mirror or DATA_MIRROR: make mnist repro" in done.stdout
    assert "digits, 360 test images" in done.stdout
    assert "name: digits" in (ran / "params.yaml").read_text()


def test_any_other_failure_ends_it(tmp_path):
    project = copy_project(tmp_path / "project")
    set_parameters(project, {"train.epochs": "0"})
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        assert run(project, *command).returncode == 0
    done = run(project, sys.executable, "-m", "armdigits", "reproduce")
    assert done.returncode != 0
    assert "params.yaml: train.epochs: " in done.stderr
    assert "instead" not in done.stdout
