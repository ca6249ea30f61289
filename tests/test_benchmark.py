import json

import pytest
import torch

from armdigits import host, paths
from armdigits.errors import GateFailed
from armdigits.runtime import load
from stages.benchmark import RATIOS, judge, table
from tests.conftest import run_stage_here, set_parameters, some_images


def test_the_metrics_have_the_promised_keys(pipeline):
    metrics = json.loads((pipeline / "metrics/benchmark.json").read_text())
    assert metrics["dataset"] == "digits"
    assert metrics["host"].items() >= host.identify().items()
    for batch in ("batch_1", "batch_8"):
        for variant in ("eager", "fp32", "int8", "int8_checked", "empty_call"):
            assert {"p50_us", "p90_us", "p99_us", "images_per_s"} <= set(metrics[batch][variant])
        for ratio in ("int8_over_fp32", "int8_over_eager", "fp32_over_eager", "int8_checked_over_eager", "control"):
            figures = metrics[batch][ratio]
            assert 0 < figures["low"] <= figures["ratio"] <= figures["high"]


def test_a_machine_that_is_noisy_is_one_whose_control_misses_1(pipeline):
    metrics = json.loads((pipeline / "metrics/benchmark.json").read_text())
    for batch in ("batch_1", "batch_8"):
        control = metrics[batch]["control"]
        assert metrics[batch]["noisy"] is not (control["low"] <= 1 <= control["high"])


def test_the_empty_program_takes_what_the_others_take_and_computes_nothing(pipeline):
    forward, shape = load((pipeline / paths.EMPTY_PROGRAM).read_bytes())
    images = some_images(3).pixels()
    assert shape == (64, 1, 28, 28)
    assert torch.equal(forward(images), images.flatten(1)[:, :10])


def test_the_table_marks_what_too_few_calls_only_indicate():
    figures = {
        "p50_us": 1,
        "p90_us": 2,
        "p99_us": 3,
        "images_per_s": 4,
        "p90_indicative": False,
        "p99_indicative": True,
    }
    interval = {"ratio": 1, "low": 1, "high": 1}
    lines = table(1, {"int8": figures, **dict.fromkeys(RATIOS, interval), "noisy": True}).splitlines()
    assert lines[1].split() == ["int8", "1.00", "2.00", "~3.00", "4"]
    assert "NOISY" in lines[-1]


def test_too_high_a_ratio_fails_or_is_called_noisy(ran, capsys):
    set_parameters(ran, {"benchmark.max_ratio": "0.000001"})
    code = run_stage_here("benchmark")
    metrics = json.loads((ran / "metrics/benchmark.json").read_text())["batch_1"]
    words = "not judged, the run is noisy" if metrics["noisy"] else "above benchmark.max_ratio (1e-06)"
    assert words in "".join(capsys.readouterr())
    assert code == (0 if metrics["noisy"] else 1)


@pytest.mark.parametrize(("high", "noisy", "fails"), [(0.91, False, True), (0.91, True, False), (0.9, False, False)])
def test_the_gate_is_on_the_upper_end_and_spares_noisy_runs(high, noisy, fails):
    single = {"int8_over_fp32": {"ratio": 0.5, "low": 0.4, "high": high}, "noisy": noisy}
    if fails:
        with pytest.raises(GateFailed, match=r"reaches 0.910, above benchmark.max_ratio \(0.9\)"):
            judge(single, limit=0.9)
    else:
        judge(single, limit=0.9)
