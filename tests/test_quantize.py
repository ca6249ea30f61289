import io
import json

from PIL import Image

from stages import quantize
from tests.conftest import run_stage_here, set_parameters, some_images


def test_the_metrics_have_the_promised_keys(pipeline):
    metrics = json.loads((pipeline / "metrics/quantize.json").read_text())
    assert metrics["dataset"] == "digits"
    assert metrics["accuracy_drop"] == round(metrics["fp32"]["accuracy"] - metrics["int8"]["accuracy"], 6)
    assert 0.9 < metrics["agreement"] <= 1
    for name in ("fp32", "int8"):
        assert metrics[name]["bytes"] == (pipeline / f"models/{name}.pte").stat().st_size
    assert metrics["int8"]["bytes"] < 0.3 * metrics["fp32"]["bytes"]


def test_the_proofs_stand_among_the_metrics(pipeline):
    proofs = json.loads((pipeline / "metrics/quantize.json").read_text())["proofs"]
    assert {"delegates", "nodes", "fused_relus", "weight_types", "biases"} <= set(proofs["fp32"]) <= set(proofs["int8"])
    assert all(holds is True for checks in proofs.values() for holds in checks.values())


def test_each_layer_keeps_most_of_its_signal(pipeline):
    layers = json.loads((pipeline / "metrics/quantize.json").read_text())["layers"]
    assert list(layers) == ["hidden1", "hidden2", "output"]
    assert all(20 < layer["sqnr_db"] < 60 for layer in layers.values())


def test_the_disagreements_explain_the_drop_in_accuracy(pipeline):
    metrics = json.loads((pipeline / "metrics/quantize.json").read_text())
    figures = metrics["disagreements"]
    rows = (pipeline / "metrics/disagreements.csv").read_text().splitlines()[1:]
    assert len(rows) == figures["count"] == round((1 - metrics["agreement"]) * 360)
    assert figures["fp32_right"] - figures["int8_right"] == round(metrics["accuracy_drop"] * 360)
    assert 0 <= figures["p_value"] <= 1
    assert (pipeline / "metrics/disagreements.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_of_no_disagreement_is_a_picture():
    assert Image.open(io.BytesIO(quantize.picture(some_images(3), []))).format == "PNG"


def test_too_large_a_drop_fails_after_the_metrics_are_written(ran, capsys, monkeypatch):
    built = {name: path.read_bytes() for name, path in quantize.PROGRAMS.items()}
    monkeypatch.setattr(quantize, "build", lambda *_: built)  # these very bytes, in less time
    set_parameters(ran, {"quantize.max_accuracy_drop": "-1.0"})
    (ran / "metrics/quantize.json").unlink()
    assert run_stage_here("quantize") == 1
    drop = json.loads((ran / "metrics/quantize.json").read_text())["accuracy_drop"]
    *_, line = capsys.readouterr().err.splitlines()
    assert line == f"quantize: accuracy drop {drop:.4f} is above quantize.max_accuracy_drop (-1.0)"
