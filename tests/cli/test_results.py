"""`armdigits results`, `report` and `summary`: the verbs that show the last run."""

import json
import sys
from functools import reduce
from pathlib import Path

import pytest

from armdigits.cli import dvc, main
from armdigits.core import paths
from armdigits.core.errors import Failure
from armdigits.report.results import BEGIN, END, README, table
from tests.helpers import ASCII, run


def add_1(path: Path, key: str) -> None:
    """To a value under nested keys, as a.b.c."""
    content = json.loads(path.read_text("utf-8"))
    *sections, last = key.split(".")
    reduce(dict.__getitem__, sections, content)[last] += 1
    path.write_text(json.dumps(content), "utf-8")


def test_results_prints_the_table(ran, capsys):
    assert main(["results"]) == 0
    assert capsys.readouterr().out == table()


def test_results_writes_the_table_into_the_readme(ran, capsys):
    README.write_text(f"before\n{BEGIN}old\n{END}after\n", "utf-8")
    assert main(["results", "--readme"]) == 0
    assert README.read_text("utf-8") == f"before\n{BEGIN}{table()}{END}after\n"
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_report_writes_the_page_and_prints_where_it_is(ran, capsys):
    assert main(["report"]) == 0
    assert capsys.readouterr().out.startswith("report/index.html: ")
    assert (ran / "report" / "index.html").read_text("utf-8").lstrip().startswith("<!doctype html>")


@pytest.mark.slow
def test_what_is_written_is_utf8_in_every_locale(ran):
    """Pages, README and the C source's text, which the page to draw on contains."""
    README.write_text(f"ä\n{BEGIN}old\n{END}か\n", "utf-8")
    for command in (["results", "--readme"], ["report"]):
        done = run(ran, sys.executable, "-m", "armdigits", *command, **ASCII)
        assert (done.returncode, done.stderr) == (0, "")
    assert README.read_text("utf-8") == f"ä\n{BEGIN}{table()}{END}か\n"
    assert " µs</" in (ran / "report/index.html").read_text("utf-8")
    assert "Made by <code>armdigits draw</code>. Weights: SHA-256" in (ran / "report/draw.html").read_text("utf-8")


@pytest.mark.slow
def test_summary_has_every_part_and_a_separate_table_for_timings(ran, capsys):
    before = {path: path.read_bytes() for path in (paths.TRAIN_METRICS, paths.BENCHMARK_METRICS)}
    add_1(paths.TRAIN_METRICS, "parameters")
    add_1(paths.BENCHMARK_METRICS, "batch_1.int8.p50_us")
    run(ran, "git", "add", "--all")
    run(ran, "git", "commit", "--quiet", "--message", "another run")
    for path, content in before.items():  # as dvc.lock has it
        path.write_bytes(content)
    assert main(["summary", "HEAD"]) == 0
    titles, texts = zip(*(part.split("\n\n", 1) for part in capsys.readouterr().out.split("## ")[1:]), strict=True)
    assert titles == (
        "Results",
        "Metrics against `HEAD`",
        "Timings against `HEAD`",
        "Parameters against `HEAD`",
        "Host",
    )
    results, metrics, timings, parameters, host = (text.strip() for text in texts)
    assert results == table().strip()
    assert "parameters" in metrics and "p50_us" not in metrics
    assert "batch_1.int8.p50_us" in timings and "parameters" not in timings
    assert parameters == "No changes."
    assert "| cpu |" in host


def test_a_part_of_the_summary_that_is_not_available_is_replaced_by_the_reason(folder, capsys, monkeypatch):
    paths.PARAMETERS.touch()

    def ask(*arguments: str) -> str:
        raise Failure(f"dvc {arguments[0]} diff: unknown Git revision 'gone'")

    monkeypatch.setattr(dvc, "ask", ask)
    assert main(["summary", "gone"]) == 0
    text = capsys.readouterr().out
    assert "## Results\n\nNot available: metrics/train.json: no such file; run: dvc repro train\n" in text
    assert "Not available: dvc metrics diff: unknown Git revision 'gone'\n" in text
    assert "Not available: dvc params diff: unknown Git revision 'gone'\n" in text
