import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armdigits import charts


def parsed(svg: str) -> ElementTree.Element:
    """The chart as XML; an error when it is none, or when a coordinate is no number."""
    assert "nan" not in svg and "inf" not in svg
    return ElementTree.fromstring(svg)  # noqa: S314 - made here


def texts(svg: str) -> list[str]:
    return [element.text for element in parsed(svg).iter("text")]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_and_lie_in_the_range(low, span):
    high = low + span
    ticks = charts.round_ticks(low, high)
    assert len(ticks) <= 7
    assert all(low - span * 1e-6 <= tick <= high + span * 1e-6 for tick in ticks)


def test_ticks_are_round():
    assert charts.round_ticks(0.0, 1.1) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert charts.round_ticks(0.956, 0.981) == [0.96, 0.965, 0.97, 0.975, 0.98]


@pytest.mark.parametrize("curve", [[0.5], [0.5, 0.5], [0.0, 0.0], [0.9, 1.0, 0.95]])
@pytest.mark.parametrize("percent", [False, True])
def test_curves_of_any_length_and_spread_are_drawn(curve, percent):
    svg = charts.lines("title", {"train": curve}, range(1, len(curve) + 1), "epoch", percent)
    (line,) = parsed(svg).iter("polyline")
    assert len(line.get("points").split()) == len(curve)


def test_a_higher_value_stands_higher():
    (line,) = parsed(charts.lines("", {"a": [1.0, 3.0, 2.0]}, [1, 2, 3], "x", False)).iter("polyline")
    first, highest, last = (float(point.split(",")[1]) for point in line.get("points").split())
    assert highest < last < first


def test_the_matrix_shows_every_count_that_is_not_zero():
    svg = charts.heat_map("title", [[5, 0, 1], [0, 7, 0], [0, 2, 9]], "rows", "columns")
    words = [element.text for rect in parsed(svg).iter("rect") for element in rect]
    assert words == ["0 read as 0: 5", "0 read as 2: 1", "1 read as 1: 7", "2 read as 1: 2", "2 read as 2: 9"]


def test_a_matrix_without_mistakes_is_drawn():
    assert texts(charts.heat_map("", [[3, 0], [0, 4]], "rows", "columns")).count("3") == 1


def test_percentiles_stand_in_their_order():
    svg = charts.ranges("title", {"int8": (8.0, 11.0, 20.0), "eager": (36.0, 57.0, 190.0)}, "µs")
    discs = [float(disc.get("cx")) for disc in parsed(svg).iter("circle")]
    assert discs == sorted(discs)
    assert "int8  8" in texts(svg)


def test_equal_percentiles_are_drawn():
    assert parsed(charts.ranges("", {"int8": (8.0, 8.0, 8.0)}, "µs")) is not None


def test_an_interval_of_1_stands_on_the_reference():
    svg = parsed(charts.intervals("", {"control": (0.99, 1.0, 1.01), "far": (2.0, 2.5, 3.0)}, 1.0))
    (reference,) = (line for line in svg.iter("line") if line.get("class") == "reference")
    control, far = (float(disc.get("cx")) for disc in svg.iter("circle"))
    assert math.isclose(control, float(reference.get("x1")), abs_tol=0.06)
    assert far > control


def test_bars_grow_with_their_value():
    svg = parsed(charts.bars("", {"a": 20.0, "b": 40.0, "c": 40.0}, "dB"))
    a, b, c = (float(bar.get("width")) for bar in svg.iter("rect") if bar.get("class") == "bar")
    assert a * 2 == pytest.approx(b, abs=0.1)
    assert b == c


def test_names_cannot_break_out_of_the_chart():
    assert "<b>&" in texts(charts.bars("<i>", {"<b>&": 1.0}, "dB"))
