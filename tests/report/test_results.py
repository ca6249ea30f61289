import json

import pytest

from armdigits.core import files, lock, paths
from armdigits.core.errors import BadInput
from armdigits.report.results import BEGIN, END, README, table, with_table, write_readme


def cells() -> list[list[str]]:
    lines = [line for line in table().splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_table_has_a_row_for_each_variant(small_run):
    header, _, *rows = cells()
    assert header == ["variant", "accuracy", "bytes", "p50 latency, batch 1", "ratio to eager [95 %]"]
    assert rows == [
        ["eager fp32", "98.75 %", "412,040", "36.0 µs", "1"],
        ["fused fp32 program", "98.75 %", "414,760", "10.5 µs", "0.290 [0.287, 0.293]"],
        ["int8 program", "98.25 %", "112,552", "6.8 µs", "0.188 [0.186, 0.189]"],
        ["C program", "98.25 %", "108,304", "3.0 µs", "0.080 [0.079, 0.081]"],
    ]


def test_a_c_program_that_ran_under_no_emulator_has_no_size(small_run):
    content = json.loads(paths.EXPORT_METRICS.read_text("utf-8"))
    del content["aarch64_dotprod"]
    files.write_json(paths.EXPORT_METRICS, content)
    assert cells()[-1][:3] == ["C program", "98.25 %", "-"]


def test_the_conditions_are_printed_below_the_table(small_run):
    assert table().split("\n\n")[1] == (
        "digits, 30 test images. Neoverse N1 (aarch64) with asimd asimddp, threads: 1. Python 3.11.7, torch 2.13.0, "
        "ExecuTorch 1.4.1, torchao 0.18.0. Bytes of the C program: code and tables for aarch64_dotprod.\n"
    )


def test_the_conditions_name_a_noisy_run(small_run):
    content = json.loads(paths.BENCHMARK_DETAILS.read_text("utf-8"))
    content["batch_1"]["noisy"] = True
    files.write_json(paths.BENCHMARK_DETAILS, content)
    assert "threads: 1, NOISY." in table()


def test_metrics_of_two_data_sets_are_refused(small_run):
    content = json.loads(paths.TRAIN_METRICS.read_text("utf-8"))
    files.write_json(paths.TRAIN_METRICS, {**content, "dataset": "mnist"})
    with pytest.raises(BadInput, match=r"^metrics/: of different data sets \(digits, mnist\); run: dvc repro$"):
        table()


def test_of_a_long_name_of_a_data_set_the_message_has_the_begin(small_run):
    content = json.loads(paths.TRAIN_METRICS.read_text("utf-8"))
    files.write_json(paths.TRAIN_METRICS, {**content, "dataset": "x" * 10_000})
    with pytest.raises(BadInput, match=r"\(digits, x{,200}\)"):
        table()


def test_a_size_that_the_lock_does_not_have_is_one_line(small_run):
    lock.LOCK.unlink()
    with pytest.raises(BadInput, match=r"^dvc.lock: has no entry models/model.safetensors; run: dvc repro$"):
        table()


def test_only_the_table_of_the_readme_changes(small_run):
    README.write_text(f"before\n{BEGIN}old\n{END}after\n", "utf-8")
    write_readme()
    assert README.read_text("utf-8") == f"before\n{BEGIN}{table()}{END}after\n"


def test_a_readme_without_markers_is_refused():
    with pytest.raises(BadInput, match=r"^README.md: the lines .* are missing$"):
        with_table("no markers", "new\n")


def test_a_missing_readme_is_refused(small_run):
    with pytest.raises(BadInput, match=r"^README.md: no such file; run from the project folder$"):
        write_readme()
