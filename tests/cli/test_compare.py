"""`armdigits compare`, on the metrics of two machines."""

import sys
from pathlib import Path

import pytest

from armdigits.cli import main
from armdigits.cli.compare import TOLERANCE, judge, read, table
from armdigits.core import files, paths
from armdigits.core.errors import BadInput, GateFailed
from tests.helpers import ROOT, run
from tests.report.conftest import metrics


def write_metrics(folder: Path, *, int8: float = 0.98, dataset: str = "mnist") -> None:
    """The metrics of a machine, as far as they are compared."""
    for path, content in metrics().items():
        if "dataset" in content:
            content["dataset"] = dataset
        if path == paths.QUANTIZE_METRICS:
            content["int8"]["accuracy"] = int8
        files.write_json(folder / path, content)


@pytest.fixture(autouse=True)
def project(folder: Path) -> None:
    paths.PARAMETERS.touch()


def judge_folders(*folders: Path) -> None:
    judge({str(folder): read(folder) for folder in folders})


def test_equal_accuracies_pass_and_the_table_has_a_column_for_each_machine(folder, capsys):
    for name in ("x86", "arm"):
        write_metrics(folder / name)
    assert main(["compare", "x86", "arm"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "|  | x86 | arm |",
        "| --- | --: | --: |",
        "| accuracy, eager fp32 | 0.9875 | 0.9875 |",
        "| accuracy, fp32 program | 0.9875 | 0.9875 |",
        "| accuracy, int8 program | 0.9800 | 0.9800 |",
        "| CPU | Neoverse N1 | Neoverse N1 |",
        "| features | asimd asimddp | asimd asimddp |",
        "| p50 of int8, batch 1, µs | 6.7500 | 6.7500 |",
        "| int8 over fp32, batch 1 | 0.6500 | 0.6500 |",
        "",
        "Tolerance of the accuracies: 0.005.",
    ]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_difference_above_the_tolerance_fails(folder, sign):
    write_metrics(folder / "x86")
    write_metrics(folder / "near", int8=0.98 + sign * TOLERANCE * 0.99)
    judge_folders(folder / "x86", folder / "near")
    write_metrics(folder / "far", int8=0.98 + sign * TOLERANCE * 1.01)
    with pytest.raises(GateFailed, match="accuracy, int8 program: .* differ by more than"):
        judge_folders(folder / "x86", folder / "far")


def test_different_data_sets_are_not_compared(folder):
    write_metrics(folder / "x86")
    write_metrics(folder / "arm", dataset="digits")
    with pytest.raises(BadInput, match="different data sets: digits, mnist"):
        judge_folders(folder / "x86", folder / "arm")


def test_of_a_long_name_of_a_data_set_the_message_has_the_begin(folder):
    write_metrics(folder / "x86")
    write_metrics(folder / "arm", dataset="x" * 10_000)
    with pytest.raises(BadInput, match="different data sets: mnist, x{,200}$"):
        judge_folders(folder / "x86", folder / "arm")


def test_an_accuracy_that_is_no_number_is_refused(folder):
    write_metrics(folder / "x86")
    metrics = folder / "x86" / paths.QUANTIZE_METRICS
    metrics.write_text(metrics.read_text("utf-8").replace("0.98,", "NaN,"), "utf-8")
    with pytest.raises(
        BadInput, match=r"quantize.json: int8.accuracy: input should be a finite number; run: dvc repro"
    ):
        read(folder / "x86")


def test_a_failed_comparison_prints_the_table_and_ends_with_exit_code_1(folder, capsys):
    write_metrics(folder / "run-1" / "results")
    write_metrics(folder / "run-2" / "results", int8=0.5)
    with pytest.raises(SystemExit) as ended:
        main(["compare", "run-1/results", "run-2/results"])
    assert ended.value.code == 1
    printed = capsys.readouterr()
    assert "| accuracy, int8 program | 0.9800 | 0.5000 |" in printed.out
    assert printed.err.startswith("compare: accuracy, int8 program: 0.5000 and 0.9800 differ")


def test_compare_and_sweep_import_nothing_but_pydantic():
    code = (
        "import sys, armdigits.cli.compare, armdigits.cli.sweep; print(*{name.split('.')[0] for name in sys.modules})"
    )
    found = set(run(ROOT, sys.executable, "-c", code).stdout.split()) - sys.stdlib_module_names - {"sitecustomize"}
    installed = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
    assert {name for name in found if not name.startswith("_")} == {"armdigits"} | installed


def test_the_metrics_of_a_real_run_have_every_figure_of_the_table(pipeline):
    rows = [line.split("|")[2].strip() for line in table({"here": read(pipeline)}).splitlines()[2:]]
    assert len(rows) == 7
    assert all(rows)
