"""The programs in benchmarks/ run to their end and print what they promise; what they measure is not judged."""

import re

from benchmarks import ablation, training


def test_the_ablation_has_a_row_a_change_and_the_int8_program(ran, capsys):
    ablation.main(seeds=1)
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert rows[0] == "recipe"
    assert rows[2:] == [
        "tutorial's recipe",
        "+ one-cycle schedule",
        "+ dropout of 0",
        "+ distorted digits",
        "+ opinions of a teacher",
        "the same as int8 program",
    ]


def test_the_benchmark_of_training_prints_both_ratios_and_how_cost_grows(ran, capsys, monkeypatch):
    monkeypatch.setattr(training, "TURNS", 1)
    monkeypatch.setattr(training, "TUTORIAL_IMAGES", 64)
    monkeypatch.setattr(training, "SIZES", {60: 1, 600: 1})
    training.main()
    out = capsys.readouterr().out
    for name in ("step loop over tutorial's loop", "recipe over tutorial's loop", "60 images, images/s"):
        assert re.search(rf"^{name} +[\d.,]+  \[[\d.,]+, [\d.,]+\]$", out, re.MULTILINE), name
    assert re.search(r"^slowest over fastest size: [01]\.\d\d$", out, re.MULTILINE)
