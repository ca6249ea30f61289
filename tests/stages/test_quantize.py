import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from armdigits.core import paths, records
from armdigits.core.errors import GateFailed
from armdigits.core.parameters import load_parameters
from armdigits.program import reference
from stages import quantize
from tests.helpers import run_stage_here, set_parameters, some_images


@pytest.fixture(scope="module")
def metrics(pipeline: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((pipeline / paths.QUANTIZE_METRICS).read_text("utf-8"))
    return content


@pytest.fixture(scope="module")
def details(pipeline: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((pipeline / paths.QUANTIZE_DETAILS).read_text("utf-8"))
    return content


def test_the_metrics_have_the_documented_keys_and_the_sizes_of_the_files(
    pipeline: Path, metrics: dict[str, Any], details: dict[str, Any]
) -> None:
    assert {key: list(values) for key, values in metrics.items() if key != "agreement"} == {
        "fp32": ["accuracy"],
        "int8": ["accuracy", "bytes"],
    }
    assert details["accuracy_drop"] == round(metrics["fp32"]["accuracy"] - metrics["int8"]["accuracy"], 6)
    assert 0.9 < metrics["agreement"] <= 1
    sizes = {name: program["bytes"] for name, program in details["programs"].items()}
    assert sizes == {name: (pipeline / "models" / name).stat().st_size for name in ("fp32.pte", "int8.pte")}
    assert metrics["int8"]["bytes"] == sizes["int8.pte"] < 0.3 * sizes["fp32.pte"]


def test_the_details_list_the_proofs_which_all_hold(details: dict[str, Any]) -> None:
    assert list(details) == ["dataset", "proofs", "programs", "accuracy_drop", "disagreements", "layers"]
    proofs = details["proofs"]
    assert {"delegates", "nodes", "fused_relus", "weight_types", "biases"} <= set(proofs["fp32"]) <= set(proofs["int8"])
    assert all(holds is True for checks in proofs.values() for holds in checks.values())


def test_the_signal_of_each_layer_is_20_to_60_db_above_the_noise(details: dict[str, Any]) -> None:
    assert list(details["layers"]) == ["linear1", "linear2", "linear3"]
    assert all(20 < layer["sqnr_db"] < 60 for layer in details["layers"].values())


def test_the_disagreements_explain_the_drop_in_accuracy(
    pipeline: Path, metrics: dict[str, Any], details: dict[str, Any]
) -> None:
    figures = details["disagreements"]
    rows = (pipeline / paths.DISAGREEMENTS).read_text("utf-8").splitlines()[1:]
    assert len(rows) == figures["count"] == round((1 - metrics["agreement"]) * 360)
    assert figures["fp32_right"] - figures["int8_right"] == round(details["accuracy_drop"] * 360)
    assert 0 <= figures["p_value"] <= 1
    assert (pipeline / paths.DISAGREEMENTS_FIGURE).read_bytes().startswith(b"\x89PNG")


def test_scores_compare_the_predictions_of_both_programs() -> None:
    logits = {"fp32": torch.eye(10)[[0, 1, 2, 3]], "int8": torch.eye(10)[[0, 1, 2, 9]]}
    metrics, details, found = quantize.scores(logits, {"fp32": 40, "int8": 10}, some_images(4))
    assert metrics.content() == {
        "fp32": {"accuracy": 1.0},
        "int8": {"accuracy": 0.75, "bytes": 10},
        "agreement": 0.75,
    }
    assert details == {
        "programs": {
            "fp32.pte": {"calibration_error": 0.768031, "bytes": 40},
            "int8.pte": {"calibration_error": 0.518031, "bytes": 10},
        },
        "accuracy_drop": 0.25,
    }
    assert found == [(3, 3, 3, 9)]


def test_the_table_has_lines_of_at_most_80_columns_and_a_dash_for_a_layer_without_a_ratio(
    metrics: dict[str, Any], details: dict[str, Any]
) -> None:
    most = {"count": 10_000, "fp32_right": 5_000, "int8_right": 5_000, "p_value": 1.2345e-5}
    record = records.QuantizeMetrics.model_validate(metrics)
    text = quantize.table(record, {**details, "disagreements": most, "layers": {"linear1": {"sqnr_db": None}}})
    lines = text.splitlines()
    assert lines[-1].split() == ["linear1", "-"]
    assert max(map(len, lines)) <= 80


def test_the_figure_without_disagreements_is_a_png() -> None:
    assert Image.open(io.BytesIO(quantize.figure(some_images(3), [], list("0123456789"), "ink"))).format == "PNG"


@pytest.fixture
def built(ran: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Replace `build` by the programs of the last run, to save time; returns their bytes."""
    programs = {name: path.read_bytes() for name, path in quantize.PROGRAMS.items()}
    empty = paths.EMPTY_PROGRAM.read_bytes()
    monkeypatch.setattr(quantize, "build_programs", lambda *_: programs)
    monkeypatch.setattr(quantize, "empty", lambda *_: empty)
    return programs


def test_a_failed_proof_writes_the_details_and_nothing_else(ran: Path, built: dict[str, bytes]) -> None:
    built["int8"] = built["fp32"]
    outputs = [*quantize.PROGRAMS.values(), paths.EMPTY_PROGRAM, paths.PROGRAM_RECORD, paths.QUANTIZE_METRICS]
    outputs += [paths.QUANTIZE_DETAILS, paths.DISAGREEMENTS, paths.DISAGREEMENTS_FIGURE]
    for path in outputs:
        path.unlink()
    line = r"models/int8.pte: \w+: expected [^\n]*, found [^\n]*"
    with pytest.raises(GateFailed, match=f"^{line}(\n{line})+$"):
        quantize.main(load_parameters(paths.PARAMETERS))
    assert [path for path in outputs if path.exists()] == [paths.QUANTIZE_DETAILS]
    details = json.loads(paths.QUANTIZE_DETAILS.read_text("utf-8"))
    assert details["proofs"]["int8"]["weight_types"] is False
    assert all(details["proofs"]["fp32"].values())


def test_a_reference_with_other_logits_than_the_runtime_fails_before_a_program_is_written(
    ran: Path, built: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    rounded = reference._rounded
    monkeypatch.setattr(reference, "_rounded", lambda scaled, *rest: rounded(np.floor(scaled), *rest))
    paths.INT8_PROGRAM.unlink()
    message = r"^models/int8.pte: logits: expected 3,600 logits equal to the reference's, found [\d,]+ logits"
    with pytest.raises(GateFailed, match=message):
        quantize.main(load_parameters(paths.PARAMETERS))
    assert not paths.INT8_PROGRAM.exists()
    assert json.loads(paths.QUANTIZE_DETAILS.read_text("utf-8"))["proofs"]["int8"]["logits"] is False


def test_too_large_a_drop_fails_after_everything_is_written(
    ran: Path, built: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    set_parameters(ran, {"quantize.max_accuracy_drop": "-1.0"})
    paths.QUANTIZE_METRICS.unlink()
    assert run_stage_here("quantize") == 1
    drop = json.loads(paths.QUANTIZE_DETAILS.read_text("utf-8"))["accuracy_drop"]
    *_, line = capsys.readouterr().err.splitlines()
    assert line == f"quantize: accuracy drop {drop:.4f} is above quantize.max_accuracy_drop (-1.0)"
