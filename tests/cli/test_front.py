"""The command `armdigits`: help, wrong arguments, imports, and closed pipes."""

import os
import subprocess
import sys
from importlib import import_module

import pytest

from armdigits.cli import VERBS, main
from tests.helpers import ROOT, run


def imported_by(code: str, *options: str) -> set[str]:
    """The names of all modules that are loaded after `code` has run in a fresh interpreter."""
    done = run(ROOT, sys.executable, *options, "-c", f"import sys; {code}; print('MODULES', *sys.modules)")
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("MODULES")[2].split())


def test_help_lists_every_verb(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for verb, summary in VERBS.items():
        assert any(line.split(maxsplit=1) == [verb, summary] for line in lines), verb


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_is_the_docstring_of_its_module(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert import_module(f"armdigits.cli.{verb}").__doc__.strip() in capsys.readouterr().out


def test_python_m_armdigits_is_the_command(capsys):
    done = run(ROOT, sys.executable, "-m", "armdigits", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: armdigits [-h] VERB ...\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "armdigits: the following arguments are required: VERB; see: armdigits --help"),
        (["fly"], "armdigits: argument VERB: invalid choice: 'fly' (choose from "),
        (["predict"], "predict: the following arguments are required: FILE; see: armdigits predict --help"),
        (
            ["dataset", "cifar"],
            "dataset: params.yaml: dataset.name: expected one of mnist, digits, idx, folder, got ",
        ),
        (["dataset", "mnist", "nowhere"], "dataset: params.yaml: dataset.path: nowhere: no such folder"),
        (["sweep", "a.json", "--save=b.json"], "sweep: argument --save: not allowed with argument FILE; see: "),
        (["sweep", "--all"], "sweep: unrecognized arguments: --all; see: armdigits --help"),
        (["compare", "one"], "compare: the following arguments are required: FOLDER; see: armdigits compare --help"),
    ],
)
def test_a_wrong_argument_is_one_line_and_exit_code_2(arguments, line, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert printed.startswith(line)


@pytest.mark.parametrize("verb", VERBS)
def test_outside_the_project_folder_every_verb_says_where_to_run_it(verb, folder, capsys):
    arguments = {"predict": ["x.png"], "experiment": ["a=1"], "compare": ["a", "b"], "dataset": ["digits"]}
    with pytest.raises(SystemExit) as ended:
        main([verb, *arguments.get(verb, [])])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"{verb}: there is no params.yaml here; run from the project folder\n"
    assert list(folder.iterdir()) == []


def test_a_reader_that_closes_the_pipe_early_gets_no_traceback():
    command = [sys.executable, "-m", "armdigits", "--help"]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    with subprocess.Popen(command, cwd=ROOT, env=buffered, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.wait() == 141  # 128 + SIGPIPE, as shells report it
        assert process.stderr.read() == b""


def test_help_needs_no_heavy_import():
    code = "from armdigits.cli import _parser, VERBS; [_parser(verb) for verb in VERBS]"
    assert not {"torch", "matplotlib", "dvc", "executorch"} & imported_by(code)


@pytest.mark.slow
def test_predict_imports_neither_exporters_nor_trainers_nor_plots():
    """The first answer must not wait for them."""
    code = "import armdigits.cli.predict, armdigits.pictures.reading, armdigits.program.runtime"
    loaded = imported_by(code)
    assert "torch" in loaded
    heavy = {"torchvision", "torchao", "executorch.exir", "executorch.runtime", "sklearn", "matplotlib", "dvc"}
    assert not (heavy | {"torchinfo"}) & loaded
