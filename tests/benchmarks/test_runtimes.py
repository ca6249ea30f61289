"""The comparison of runtimes: each computes this model, and the table says what was measured."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from armdigits.core import paths
from armdigits.data.dataset import read_split
from armdigits.models.checkpoint import read_checkpoint
from benchmarks import limits, runtimes
from benchmarks.adapters import RUNTIMES, Runtime, Task
from benchmarks.onnx_model import onnx_model

MACHINE = {"arch": "x86_64", "features": "avx2"}


@pytest.fixture
def task(ran) -> Task:
    """The model and training images of the pipeline that the tests share, 8 images a call."""
    return Task(read_checkpoint(paths.MODEL)[0], read_split(paths.TRAIN_DATA).pixels()[:200], batch=8)


def figures(p50_us: float, times_the_limit: float | None = None) -> dict[str, Any]:
    """The figures of one runtime."""
    interval = {"ratio": 1.0, "low": 0.9, "high": 1.1}
    timing = {"p50_us": p50_us, "p90_us": 2 * p50_us, "images_per_s": 1e6 / p50_us}
    return {**timing, "ours_over_it": interval, "times_the_limit": times_the_limit}


def test_the_onnx_model_computes_this_model_for_any_batch(task):
    session = onnxruntime.InferenceSession(onnx_model(task.model), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        pixels = task.calibration[:count]
        (logits,) = session.run(None, {"images": pixels.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), task.model(pixels).detach(), atol=1e-4, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["PyTorch eager", "ONNX Runtime", "our fp32 program", "our int8 program"])
def test_a_runtime_classifies_as_this_model_does(task, name):
    query = next(runtimes.queries(task.calibration, task.batch))
    logits = np.asarray(RUNTIMES[name].make(task)(query))
    assert np.array_equal(logits.argmax(1), task.model(query.tensor).argmax(1).numpy())


def test_a_runtime_that_does_not_run_is_named_with_the_reason(task, monkeypatch):
    def absent(_task: Task) -> Any:
        import no_such_runtime  # noqa: F401

    monkeypatch.setattr(runtimes, "RUNTIMES", {"eager": RUNTIMES["PyTorch eager"], "absent": Runtime(absent)})
    calls, missing = runtimes.ready(task)
    assert list(calls) == ["eager"]
    assert missing == {"absent": "ModuleNotFoundError: No module named 'no_such_runtime'"}


def test_accuracy_is_the_share_of_correct_images():
    answers = iter([0, 1, 2, 3])
    pixels, targets = torch.zeros(4, 1, 28, 28), torch.tensor([0, 1, 2, 9])
    assert runtimes.accuracy(lambda _: np.eye(10)[[next(answers)]], pixels, targets) == 0.75


def test_an_int8_product_slower_than_fp32_is_no_limit():
    assert limits.limits({"fp32": 35e9, "int8": 1e9}) == {"fp32": 35e9}
    assert limits.describe({"fp32": 35e9, "int8": 1e9}).endswith("; int8: unknown (slow torch._int_mm)")
    assert limits.limits({"fp32": 35e9, "int8": 140e9}) == {"fp32": 35e9, "int8": 140e9}
    assert limits.describe({"fp32": 35e9, "int8": 140e9}).endswith(", int8 140 G (torch._int_mm)")


@pytest.mark.parametrize(
    ("machine", "lacks"),
    [
        (MACHINE, True),
        ({**MACHINE, "features": "avx2 avx512_vnni"}, False),
        ({**MACHINE, "features": "avx2 avx_vnni"}, False),
        ({"arch": "aarch64", "features": "asimd"}, False),
    ],
)
def test_vnni_is_reported_as_lacking_only_on_x86_cpus_without_it(machine, lacks):
    assert limits.lacks_vnni(machine) is lacks


def test_the_table_is_sorted_and_marks_int8_that_saturates():
    rows = {"ONNX Runtime int8": figures(3.0), "OpenVINO": figures(2.0, 1.5), "control": figures(1.0)}
    table = runtimes.table(rows, {"OpenVINO": 0.99}, saturates=True)
    names = [line.split("|")[1].strip() for line in table.splitlines()[2:5]]
    assert names == ["control", "OpenVINO", "ONNX Runtime int8*"]
    assert table.endswith(runtimes.SATURATES)
    assert " 99.00% |" in table
    assert "*" not in runtimes.table(rows, {}, saturates=False)


@pytest.mark.slow
def test_the_comparison_runs_to_its_end(ran, capsys, monkeypatch):
    some = ("PyTorch eager", "TorchScript", "ONNX Runtime int8", "our int8 program")
    monkeypatch.setattr(runtimes, "RUNTIMES", {name: RUNTIMES[name] for name in some})
    monkeypatch.setattr(runtimes, "BATCHES", (1, 32))
    monkeypatch.setattr(runtimes, "ROUNDS", 8)
    runtimes.main()
    out = capsys.readouterr().out
    assert "limit: fp32 " in out
    assert out.count("| our int8 program ") == 2
    assert "did not run" not in out
