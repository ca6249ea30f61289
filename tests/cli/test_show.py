"""`armdigits show`."""

import json

from armdigits.cli import main
from armdigits.core import files, paths


def change_host(**values: str) -> None:
    """Change what the benchmark recorded about its machine."""
    content = json.loads(paths.BENCHMARK_DETAILS.read_text("utf-8"))
    files.write_json(paths.BENCHMARK_DETAILS, {**content, "host": {**content["host"], **values}})


def test_timings_stand_apart_from_what_is_the_same_each_time(small_run, capsys):
    assert main(["show"]) == 0
    model, targets, timings, host, _ = capsys.readouterr().out.split("\n\n")[:5]
    assert "data set        digits\n" in model
    assert "int8 program     98.25%  112,552 bytes\n" in model
    assert targets.split()[-4:] == ["aarch64_dotprod", "108,304", "2,192", "27,347"]
    assert timings.splitlines()[1].split() == ["batch", "1", "6.8", "3.0", "0.188", "0.450"]
    assert host.startswith("Neoverse N1 (aarch64) asimd asimddp, threads: 1\n")


def test_a_run_fits_80_columns_whatever_its_machine_is_called(small_run, capsys):
    change_host(cpu="A CPU of " + "many words " * 20)
    assert main(["show"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
