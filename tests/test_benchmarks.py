"""The programs in benchmarks/ run to their end and print what they promise; what they measure is not judged."""

import re

import pytest

from benchmarks import ablation, scaling, training
from tests.conftest import ROOT, set_parameters
from tests.test_ranks import ended, start_ranks


def test_the_ablation_has_a_row_a_change_and_the_int8_program(ran, capsys):
    set_parameters(ran, {"train.epochs": "1"})
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


def test_the_benchmark_of_scaling_measures_two_processes_and_reckons_with_more():
    few = "from benchmarks import scaling; scaling.main({1: 3, 2: 3}, (1000,), 1)"
    (code, out, errors), (code_of_1, silence, _) = ended(start_ranks([ROOT, ROOT], "-c", few))
    assert (code, code_of_1, silence) == (0, 0, ""), errors
    measured, paper = out.split("On paper: ")
    assert re.search(r"^\| 0\.1 M \| 1,000 \| [\d,]+ \| [\d,]+ \| [\d.]+ \| \d+ % \|", measured, re.MULTILINE)
    assert [line.split(" | ")[1] for line in paper.splitlines() if line.startswith("| 0.")] == ["8", "64", "512"] * 2


def test_on_paper_a_step_is_the_same_for_one_rank_and_the_link_is_paid_for_more():
    """A step of 1 ms and 10 us an image, a gradient of 4 MB, 1 GB/s, 10 us a message."""
    row = scaling.Row(1_000_000, 60_000, alone=[1e-3 + 32e-5], large=[1e-3 + 128e-5])
    assert scaling.on_paper(row, 1, 1e9, 1e-5) == pytest.approx((6.12e-3, 0))
    assert scaling.on_paper(row, 8, 1e9, 1e-5) == pytest.approx((1.64e-3, 7e-3 + 0.14e-3))
