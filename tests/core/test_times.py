"""The durations of the stages, and the line about them."""

from pathlib import Path

import pytest

from armdigits.core import paths, times
from tests.helpers import copy_project, run_stage_here, set_parameters


def test_a_stage_that_succeeds_records_its_duration_and_one_that_fails_does_not(folder: Path) -> None:
    copy_project(folder)
    assert run_stage_here("preflight") == 0
    assert float((paths.SECONDS / "preflight").read_text("utf-8")) > 0
    times.forget()
    set_parameters(folder, {"train.epochs": "0"})
    assert run_stage_here("preflight") == 2
    assert not paths.SECONDS.exists()


@pytest.mark.parametrize(
    ("spent", "line"),
    [
        ({"teach": 80.2, "train": 11.4, "preflight": 0.3}, "repro took 95 s: teach 80, train 11, DVC 3"),
        ({}, "repro took 95 s: DVC 95"),
    ],
)
def test_the_line_has_the_longest_stage_first_and_none_below_half_a_second(
    folder: Path, spent: dict[str, float], line: str
) -> None:
    for name, seconds in spent.items():
        paths.SECONDS.mkdir(parents=True, exist_ok=True)
        (paths.SECONDS / name).write_text(str(seconds), "utf-8")
    assert times.summary("repro", 95.0) == line
