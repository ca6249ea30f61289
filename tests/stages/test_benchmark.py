import json
from pathlib import Path
from typing import Any

import pytest

from armdigits.core import paths
from armdigits.core.errors import GateFailed
from armdigits.measure import host
from stages.benchmark import MAIN_VARIANTS, RATIOS, judge, metrics_of, table
from tests.helpers import run_stage_here, set_parameters


@pytest.fixture(scope="module")
def details(pipeline: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((pipeline / paths.BENCHMARK_DETAILS).read_text("utf-8"))
    return content


def test_the_metrics_are_those_of_batch_1_and_of_the_largest_batch(pipeline: Path, details: dict[str, Any]) -> None:
    metrics = json.loads((pipeline / paths.BENCHMARK_METRICS).read_text("utf-8"))
    assert metrics == metrics_of(details, largest=8)


def test_the_details_have_the_machine_and_all_figures(details: dict[str, Any]) -> None:
    assert list(details) == ["dataset", "host", "batch_1", "batch_8"]
    assert details["dataset"] == "digits"
    assert details["host"].items() >= host.identify().items()
    assert {"kernel", "load", "threads"} <= set(details["host"])
    for batch in ("batch_1", "batch_8"):
        for variant in (*MAIN_VARIANTS, "c_no_zeros", "int8_checked", "empty_call"):
            keys = {"p50_us", "p90_us", "p99_us", "images_per_s", "calls", "p90_indicative", "p99_indicative"}
            assert set(details[batch][variant]) == keys
        for ratio in RATIOS:
            figures = details[batch][ratio]
            assert 0 < figures["low"] <= figures["ratio"] <= figures["high"]


def test_timings_are_noisy_when_the_controls_interval_misses_1(details: dict[str, Any]) -> None:
    for batch in ("batch_1", "batch_8"):
        control = details[batch]["control"]
        assert details[batch]["noisy"] is not (control["low"] <= 1 <= control["high"])


VARIANT = {"p50_us": 1, "p90_us": 2, "p99_us": 3, "images_per_s": 4, "p90_indicative": False, "p99_indicative": True}
RATIO = {"ratio": 1, "low": 1, "high": 1}


def test_the_table_marks_percentiles_of_too_few_calls_and_noise() -> None:
    lines = table(1, {"int8": VARIANT, **dict.fromkeys(RATIOS, RATIO), "noisy": True}).splitlines()
    assert lines[1].split() == ["int8", "1.00", "2.00", "~3.00", "4"]
    assert lines[-1].strip().startswith("NOISY: the control's interval does not contain 1.00")
    assert max(map(len, lines)) <= 80


def test_the_metrics_are_two_medians_two_ratios_for_each_of_two_sizes_and_the_control() -> None:
    batch = {**dict.fromkeys(MAIN_VARIANTS, VARIANT), **dict.fromkeys(RATIOS, RATIO), "noisy": False}
    medians = {"int8": {"p50_us": 1}, "c": {"p50_us": 1}}
    ratios = {"int8_over_eager": {"ratio": 1}, "c_over_int8": {"ratio": 1}}
    details = {"batch_1": batch, "batch_32": batch, "batch_256": batch}
    assert metrics_of(details, largest=256) == {"batch_1": {**medians, **ratios}, "batch_256": ratios, "control": 1}
    assert metrics_of(details, largest=1) == {"batch_1": {**medians, **ratios}, "control": 1}


def test_too_high_a_ratio_fails_after_everything_is_written_unless_noisy(
    ran: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    set_parameters(ran, {"benchmark.max_ratio": "0.000001"})
    outputs = [paths.BENCHMARK_METRICS, paths.BENCHMARK_DETAILS, paths.LATENCY]
    for path in outputs:
        path.unlink()
    code = run_stage_here("benchmark")
    assert all(path.exists() for path in outputs)
    noisy = json.loads(paths.BENCHMARK_DETAILS.read_text("utf-8"))["batch_1"]["noisy"]
    printed = capsys.readouterr()
    assert code == (0 if noisy else 1)
    assert ("not enforced, because the timings are noisy" in printed.out) is noisy
    assert printed.err.endswith("above benchmark.max_ratio (1e-06)\n") is not noisy


@pytest.mark.parametrize(("high", "noisy", "fails"), [(0.91, False, True), (0.91, True, False), (0.9, False, False)])
def test_the_gate_is_on_the_upper_end_and_passes_noisy_timings(high: float, noisy: bool, fails: bool) -> None:
    single = {"int8_over_fp32": {"ratio": 0.5, "low": 0.4, "high": high}, "noisy": noisy}
    if fails:
        with pytest.raises(GateFailed, match=r"reaches 0.910, above benchmark.max_ratio \(0.9\)"):
            judge(single, limit=0.9)
    else:
        judge(single, limit=0.9)
