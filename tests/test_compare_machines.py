import shutil
import sys
from pathlib import Path

import pytest

from armdigits import files, paths
from armdigits.errors import BadInput, GateFailed
from tests.conftest import ROOT, run
from tools.compare_machines import TOLERANCE, judge, main, read


@pytest.fixture
def machines(pipeline: Path, folder: Path) -> Path:
    """A folder with the metrics of two machines, x86 and arm, which are the same."""
    for name in ("x86", "arm"):
        shutil.copytree(pipeline / "metrics", folder / name / "metrics")
    return folder


def set_accuracy(folder: Path, difference: float) -> None:
    path = folder / paths.QUANTIZE_METRICS
    metrics = files.read_json(path, "quantize")
    metrics["int8"]["accuracy"] += difference
    files.write_json(path, metrics)


def test_equal_accuracies_pass(machines):
    judge({name: read(machines / name) for name in ("x86", "arm")})


@pytest.mark.parametrize("sign", [1, -1])
def test_the_tolerance_is_the_limit(machines, sign):
    set_accuracy(machines / "arm", sign * TOLERANCE * 0.99)
    judge({name: read(machines / name) for name in ("x86", "arm")})
    set_accuracy(machines / "arm", sign * TOLERANCE * 0.02)
    with pytest.raises(GateFailed, match="accuracy, int8 program: .* differ by more than"):
        judge({name: read(machines / name) for name in ("x86", "arm")})


def test_different_data_sets_are_not_compared(machines):
    path = machines / "arm" / paths.EVALUATE_METRICS
    files.write_json(path, {**files.read_json(path, "evaluate"), "dataset": "mnist"})
    with pytest.raises(BadInput, match="different data sets: digits, mnist"):
        main(["x86", "arm"])


def test_the_command_shows_a_table_and_its_exit_code_judges(machines):
    command = (sys.executable, "-m", "tools.compare_machines", str(machines / "x86"), str(machines / "arm"))
    good = run(ROOT, *command)
    assert good.returncode == 0, good.stderr
    assert good.stdout.splitlines()[0] == "|  | x86 | arm |"
    set_accuracy(machines / "arm", 0.1)
    bad = run(ROOT, *command)
    assert bad.returncode == 1
    assert "| accuracy, int8 program |" in bad.stdout
    assert bad.stderr.startswith("compare_machines: accuracy, int8 program")


def test_it_needs_nothing_but_python(machines):
    """CI compares on a machine without an environment."""
    code = "import sys, tools.compare_machines; print(*sorted(name.split('.')[0] for name in sys.modules))"
    loaded = set(run(ROOT, sys.executable, "-S", "-c", code).stdout.split())
    assert "tools" in loaded
    assert not {"torch", "numpy", "pydantic", "yaml"} & loaded
