import functools
import re
from xml.etree import ElementTree

import pytest

from armdigits.report import charts


def parsed(svg: str) -> ElementTree.Element:
    """The chart as XML; an error when it is not XML, or when a coordinate is not a number."""
    assert "nan" not in svg
    assert "inf" not in svg
    return ElementTree.fromstring(svg.replace("xlink:href", "href"))  # noqa: S314 - made here


def texts(svg: str) -> list[str | None]:
    return [element.text for element in parsed(svg).iter("text")]


def points(svg: str, color: str) -> list[list[tuple[float, float]]]:
    """The corners of each line drawn in `color`."""
    lines = [
        path.get("d", "") for path in parsed(svg).iter("path") if f"stroke: var(--{color})" in path.get("style", "")
    ]
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", line)] for line in lines if "C" not in line
    ]


def discs(svg: str) -> list[float]:
    """The x of each marker."""
    return [float(use.get("x", "")) for use in parsed(svg).iter("use")]


CHARTS = {
    "curves": lambda: charts.curves("title", {"train": [0.9, 0.5]}, [1, 2], percent=False),
    "confusion_matrix": lambda: charts.confusion_matrix("title", [[5, 1], [0, 7]], ["0", "1"]),
    "percentiles": lambda: charts.percentiles("title", {"int8": (8.0, 11.0, 20.0), "other": (1.0, 2.0, 3.0)}, "µs"),
    "intervals": lambda: charts.intervals("title", {"control": (0.99, 1.0, 1.01)}),
    "bars": lambda: charts.bars("title", {"linear1": 20.0, "linear2": None}, "dB"),
}


every_chart = pytest.mark.parametrize("name", CHARTS)


@functools.cache
def drawn(name: str) -> str:
    return CHARTS[name]()


@every_chart
def test_every_colour_is_a_css_variable_for_light_and_dark_mode(name):
    svg = drawn(name)
    assert "var(--" in svg
    assert not re.search(r"#[0-9a-f]{6}\b|rgb\(|black|white", re.sub(r'(href="|url\()#\w+', "", svg))
    assert all("fill: var(--" in text.get("style", "") for text in parsed(svg).iter("text"))


@every_chart
def test_a_chart_drawn_twice_has_the_same_text(name):
    assert CHARTS[name]() == drawn(name)


@every_chart
def test_a_chart_has_a_title_for_screen_readers_and_takes_the_font_of_the_page(name):
    svg = drawn(name)
    assert parsed(svg)[0].text == "title"
    assert "font-family" not in svg
    assert "<style" not in svg


@every_chart
def test_every_label_lies_inside_the_chart(name):
    chart = parsed(drawn(name))
    _, _, width, height = map(float, chart.get("viewBox", "").split())
    for text in chart.iter("text"):
        if "-90" in text.get("transform", ""):
            continue
        style = text.get("style", "")
        length = 0.5 * float(re.search(r"(\d[\d.]*)px", style)[1]) * len(text.text)  # letters are about that wide
        share = {"start": 0.0, "middle": 0.5, "end": 1.0}[re.search(r"text-anchor: (\w+)", style)[1]]
        left = float(text.get("x")) - share * length
        assert left >= 0, text.text
        assert left + length <= width, text.text
        assert 0 < float(text.get("y")) < height, text.text


def test_no_two_colours_of_the_light_palette_are_equal():
    assert len(set(charts.LIGHT.values())) == len(charts.LIGHT)


@pytest.mark.parametrize("curve", [[0.5], [0.5, 0.5], [0.0, 0.0], [0.9, 1.0, 0.95]])
@pytest.mark.parametrize("percent", [False, True])
def test_curves_of_any_length_and_spread_are_drawn(curve, percent):
    (line,) = points(charts.curves("", {"eager": curve}, range(1, len(curve) + 1), percent), "eager")[:1]
    assert len(line) == len(curve)


def test_a_higher_value_is_drawn_higher():
    line = points(charts.curves("", {"eager": [1.0, 3.0, 2.0]}, [1, 2, 3], percent=False), "eager")[0]
    (_, first), (_, highest), (_, last) = line
    assert highest < last < first


def test_shares_are_labelled_as_percentages():
    assert "98 %" in texts(charts.curves("", {"validation": [0.95, 0.99]}, [1, 2], percent=True))


def test_the_matrix_shows_every_count_that_is_not_zero():
    shown = texts(charts.confusion_matrix("", [[5, 0, 11], [0, 77, 0], [0, 22, 99]], ["a", "b", "c"]))
    assert [word for word in shown if word not in ("a", "b", "c")] == [
        "predicted",
        "shown",
        "5",
        "11",
        "77",
        "22",
        "99",
    ]


@pytest.mark.parametrize("counts", [[[3, 0], [0, 4]], [[0, 3], [4, 0]]])
def test_a_matrix_of_only_correct_or_only_wrong_predictions_is_drawn(counts):
    assert {"3", "4"} <= set(texts(charts.confusion_matrix("", counts, ["0", "1"])))


def test_a_matrix_shows_the_names_of_the_classes_and_shortens_long_ones():
    shown = texts(charts.confusion_matrix("", [[5, 0], [0, 7]], ["<b> $x$", "a long name of a class"]))
    assert shown.count("<b> $x$") == shown.count("a long name…") == 2


@pytest.mark.parametrize(("classes", "numbers"), [(20, 1), (21, 0), (100, 0)])
def test_a_matrix_of_many_classes_shows_all_names_but_not_the_numbers(classes, numbers):
    counts = [[999 if row == column == 3 else 0 for column in range(classes)] for row in range(classes)]
    svg = charts.confusion_matrix("", counts, [f"n{number}" for number in range(classes)])
    assert texts(svg).count("999") == numbers
    assert {f"n{number}" for number in range(classes)} <= set(texts(svg))
    assert len(svg) < 250_000


def test_a_name_in_another_script_is_drawn_without_a_warning():
    assert "か" in texts(charts.bars("", {"か": 1.0}, "%"))


def test_percentiles_are_drawn_in_ascending_order():
    svg = charts.percentiles("", {"int8": (8.0, 11.0, 20.0)}, "µs")
    p90, p99, p50 = discs(svg)
    assert p50 < p90 < p99
    assert "int8 8" in texts(svg)


@pytest.mark.parametrize("row", [(8.0, 8.0, 8.0), (0.5, 40.0, 9000.0)])
def test_percentiles_of_any_spread_have_labelled_ticks(row):
    ticks = [word for word in texts(charts.percentiles("", {"int8": row}, "µs")) if re.fullmatch(r"[\d.]+", word or "")]
    assert 1 <= len(ticks) <= 8


def test_a_ratio_of_1_is_drawn_on_the_line_at_1():
    svg = charts.intervals("", {"control": (0.99, 1.0, 1.01), "far": (2.0, 2.5, 3.0)})
    control, far = discs(svg)
    ((line, _), _) = next(line for line in points(svg, "muted"))
    assert control == pytest.approx(line)
    assert far > control


def test_bars_grow_with_their_value_and_start_at_the_lowest():
    svg = charts.bars("", {"a": 30.0, "b": 50.0, "c": 10.0, "d": None}, "dB", lowest=10.0)
    bars = [path.get("d", "") for path in parsed(svg).iter("path") if "fill: var(--int8)" in path.get("style", "")]
    widths = [max(xs) - min(xs) for bar in bars if (xs := [float(x) for x in re.findall(r"[ML] (\S+)", bar)])]
    assert widths[0] * 2 == pytest.approx(widths[1], rel=1e-3)
    assert widths[2:] == [0, 0]
    assert {"30.0 dB", "n/a"} <= set(texts(svg))


def test_markup_and_mathematics_in_names_are_text():
    svg = charts.bars("<i>", {"<b>&": 1.0, "$x$": 1.0}, "dB")
    assert {"<b>&", "$x$"} <= set(texts(svg))
    assert parsed(svg)[0].text == "<i>"
