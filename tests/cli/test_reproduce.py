"""`armdigits reproduce`, which is `make repro`."""

import re
import sys
from pathlib import Path

import pytest

from armdigits.cli import dvc, main, reproduce
from armdigits.core import paths
from tests.helpers import PARAMETERS, copy_project, run, set_parameters


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml set to MNIST; the results table is one word."""
    (folder / "params.yaml").write_text(PARAMETERS.read_text("utf-8"), "utf-8")
    main(["dataset", "mnist"])
    monkeypatch.setattr(reproduce, "table", lambda: "table\n")
    (folder / "dvc.lock").write_text("stages: {}", "utf-8")
    monkeypatch.setattr(dvc, "require_git", lambda: None)
    return folder


def test_it_runs_the_pipeline_and_prints_the_table(project, monkeypatch, capsys):
    monkeypatch.setattr(dvc, "run", lambda *_: 0)
    assert main(["reproduce"]) == 0
    *_, table, _, compared, line = capsys.readouterr().out.splitlines()
    assert table == "table"
    assert compared.startswith("not compared with the commit: ")  # there is none
    assert re.fullmatch(r"repro took \d+ s: .*", line)
    assert "name: mnist" in paths.PARAMETERS.read_text("utf-8")


def test_without_a_mirror_it_changes_params_yaml_to_the_embedded_digits_and_says_so(project, monkeypatch, capsys):
    def run(*arguments: str) -> int:
        if arguments == ("repro", "download"):
            paths.NO_MIRROR.parent.mkdir()
            paths.NO_MIRROR.touch()
            return 1
        assert "name: digits" in paths.PARAMETERS.read_text("utf-8")
        return 0

    monkeypatch.setattr(dvc, "run", run)
    assert main(["reproduce"]) == 0
    printed = capsys.readouterr().out
    assert "The pipeline runs on scikit-learn's embedded digits instead." in printed
    assert "dataset.name: mnist -> digits" in printed
    assert "Back to MNIST, with a mirror or DATA_MIRROR: make mnist repro" in printed


def test_any_other_failure_returns_dvcs_exit_code(project, monkeypatch, capsys):
    monkeypatch.setattr(dvc, "run", lambda *_: 7)
    assert main(["reproduce"]) == 7
    assert "digits" not in capsys.readouterr().out
    assert "name: mnist" in paths.PARAMETERS.read_text("utf-8")


def test_a_file_that_dvc_put_in_the_place_of_an_output_is_named_with_the_command_that_helps(
    project, monkeypatch, capsys
):
    monkeypatch.setattr(dvc, "run", lambda *_: 0)
    (project / "x").touch()
    Path("dvc.lock").write_text(f"stages: {{train: {{outs: [{{path: x, md5: {'0' * 32}, size: 7}}]}}}}", "utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["reproduce"])
    assert ended.value.code == 1
    reason, repair = capsys.readouterr().err.splitlines()
    assert reason.startswith(f"reproduce: x: expected MD5 {'0' * 32}, found ")
    assert repair == "reproduce: to repair, run: rm -rf x && dvc repro"


@pytest.mark.slow
def test_a_machine_that_reaches_no_mirror_gets_the_results_of_the_digits(ran):
    set_parameters(ran, {"dataset.name": "mnist"})
    command = [sys.executable, "-m", "armdigits", "reproduce"]
    done = run(ran, *command, DATA_MIRROR="", HTTPS_PROXY="http://127.0.0.1:1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Connection refused" in done.stderr
    assert "dataset.name: mnist -> digits" in done.stdout
    assert "digits, 360 test images" in done.stdout
    assert "name: digits" in (ran / "params.yaml").read_text("utf-8")


@pytest.mark.slow
def test_invalid_parameters_print_the_line_of_the_stage(tmp_path):
    project = copy_project(tmp_path / "project")
    set_parameters(project, {"train.epochs": "0"})
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        assert run(project, *command).returncode == 0
    done = run(project, sys.executable, "-m", "armdigits", "reproduce")
    assert done.returncode != 0
    assert "params.yaml: train.epochs: " in done.stderr
    assert "instead" not in done.stdout
