"""`armdigits results`, `report` and `summary`: the verbs that show the last run."""

import json

from armdigits.cli import main
from armdigits.core import paths
from armdigits.report.results import BEGIN, END, README, table
from tests.helpers import run


def test_results_prints_the_table(ran, capsys):
    assert main(["results"]) == 0
    assert capsys.readouterr().out == table()


def test_results_writes_the_table_into_the_readme(ran, capsys):
    README.write_text(f"before\n{BEGIN}old\n{END}after\n")
    assert main(["results", "--readme"]) == 0
    assert README.read_text() == f"before\n{BEGIN}{table()}{END}after\n"
    assert capsys.readouterr().out == ""


def test_report_writes_the_page_and_prints_where_it_is(ran, capsys):
    assert main(["report"]) == 0
    assert capsys.readouterr().out.startswith("report/index.html: ")
    assert (ran / "report" / "index.html").read_text().lstrip().startswith("<!doctype html>")


def test_summary_has_every_part_and_keeps_times_apart(ran, capsys):
    run(ran, "git", "add", "--all")
    run(ran, "git", "commit", "--quiet", "--message", "run")
    for path, key in ((paths.TRAIN_METRICS, "epochs"), (paths.BENCHMARK_METRICS, "batch_1.eager.p50_us")):
        change(ran / path, key)
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
    assert "epochs" in metrics and "p50_us" not in metrics
    assert "batch_1.eager.p50_us" in timings and "epochs" not in timings
    assert parameters == "No changes."
    assert "| cpu |" in host


def change(path, key):
    """Add 1 to a value under nested keys, as a.b.c."""
    content = json.loads(path.read_text())
    *outer, last = key.split(".")
    entry = content
    for name in outer:
        entry = entry[name]
    entry[last] += 1
    path.write_text(json.dumps(content))


def test_a_part_of_the_summary_that_cannot_be_made_has_the_reason_in_its_place(ran, capsys):
    paths.EVALUATE_METRICS.unlink()
    assert main(["summary", "gone"]) == 0
    text = capsys.readouterr().out
    assert "## Results\n\nNot available: metrics/evaluate.json: no such file; run: dvc repro evaluate\n" in text
    assert "Not available: dvc metrics diff: unknown Git revision 'gone'\n" in text
    assert "| cpu |" in text
