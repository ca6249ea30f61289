import json

from tests.conftest import run_stage, set_parameters


def test_the_metrics_have_the_promised_keys(pipeline):
    metrics = json.loads((pipeline / "metrics/quantize.json").read_text())
    assert metrics["dataset"] == "digits"
    assert metrics["accuracy_drop"] == round(metrics["fp32"]["accuracy"] - metrics["int8"]["accuracy"], 6)
    assert 0.9 < metrics["agreement"] <= 1
    for name in ("fp32", "int8"):
        assert metrics[name]["bytes"] == (pipeline / f"models/{name}.pte").stat().st_size
    assert metrics["int8"]["bytes"] < 0.3 * metrics["fp32"]["bytes"]


def test_the_same_checkpoint_gives_the_same_bytes(ran):
    before = [(ran / f"models/{name}").read_bytes() for name in ("fp32.pte", "int8.pte", "programs.json")]
    assert run_stage(ran, "quantize").returncode == 0
    assert [(ran / f"models/{name}").read_bytes() for name in ("fp32.pte", "int8.pte", "programs.json")] == before


def test_too_large_a_drop_fails_after_the_metrics_are_written(ran):
    set_parameters(ran, {"quantize.max_accuracy_drop": "-1.0"})
    (ran / "metrics/quantize.json").unlink()
    done = run_stage(ran, "quantize")
    assert done.returncode == 1
    drop = json.loads((ran / "metrics/quantize.json").read_text())["accuracy_drop"]
    assert done.stderr == f"quantize: accuracy drop {drop:.4f} is above quantize.max_accuracy_drop (-1.0)\n"
