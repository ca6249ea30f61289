"""`armdigits dataset`."""

from armdigits.cli import main
from armdigits.cli.dataset import select
from armdigits.core import paths
from armdigits.core.parameters import load_parameters
from tests.helpers import PARAMETERS


def test_selecting_a_data_set_changes_its_values_and_keeps_the_comments(folder):
    original = PARAMETERS.read_text()
    (folder / "params.yaml").write_text(original)
    select("mnist")
    mnist = (folder / "params.yaml").read_text()
    changes = select("digits")
    assert "dataset.name: mnist -> digits" in changes
    assert load_parameters(paths.PARAMETERS).dataset.name == "digits"
    comments = [line.split("#")[1:] for line in original.splitlines()]
    assert [line.split("#")[1:] for line in (folder / "params.yaml").read_text().splitlines()] == comments
    select("mnist")
    assert (folder / "params.yaml").read_text() == mnist


def test_the_command_prints_the_changes_or_that_there_are_none(folder, capsys):
    (folder / "params.yaml").write_text(PARAMETERS.read_text())
    main(["dataset", "mnist"])
    capsys.readouterr()
    main(["dataset", "digits"])
    assert "dataset.name: mnist -> digits\n" in capsys.readouterr().out
    main(["dataset", "digits"])
    assert capsys.readouterr().out == "params.yaml: digits is selected already\n"
