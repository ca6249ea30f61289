"""The comparison of runtimes: each computes this model, and the table says what was measured."""

import os
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from armdigits.core import paths
from armdigits.csource import toolchain
from armdigits.data.dataset import read_split
from armdigits.models.checkpoint import read_checkpoint
from armdigits.program.contents import read_back
from benchmarks import limits, ncnn_model, runtimes
from benchmarks.adapters import OURS, OURS_C, RUNTIMES, Runtime, Task
from benchmarks.limits import Limits
from benchmarks.onnx_model import fixed_batch, onnx_model

MACHINE = {"arch": "x86_64", "features": "avx2"}


@pytest.fixture
def task(ran) -> Task:
    """The model and training images of the pipeline that the tests share, 8 images a call."""
    return Task(read_checkpoint(paths.MODEL)[0], read_split(paths.TRAIN_DATA).pixels()[:200], batch=8)


def figures(p50_us: float, ratio: float = 1.0, control: bool = False) -> dict[str, Any]:
    """The figures of one runtime."""
    interval = {"ratio": ratio, "low": 0.9 * ratio, "high": 1.1 * ratio}
    timing = {"p50_us": p50_us, "p90_us": 2 * p50_us, "images_per_s": 1e6 / p50_us}
    found = {**timing, "int8_over_it": interval, "c_over_it": interval, "times_the_limit": 1.5}
    return found if control else {**found, "accuracy": 0.99}


def test_the_onnx_model_computes_this_model_for_any_batch(task):
    session = onnxruntime.InferenceSession(onnx_model(task.model), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        pixels = task.calibration[:count]
        (logits,) = session.run(None, {"images": pixels.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), task.model(pixels).detach(), atol=1e-4, rtol=0)


def test_the_onnx_model_of_a_fixed_batch_takes_only_that(task):
    content = fixed_batch(onnx_model(task.model), 5)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert [value.shape for value in (*session.get_inputs(), *session.get_outputs())] == [[5, 1, 28, 28], [5, 10]]


def test_the_ncnn_model_has_the_numbers_of_each_layer_in_its_order(task):
    program = read_back(paths.INT8_PROGRAM.read_bytes(), paths.INT8_PROGRAM)
    for contents, size, tag in ((None, 4, b"\0\0\0\0"), (program, 1, b"\x38\x4b\x0d\0")):
        text, data = ncnn_model.ncnn_model(task.model, contents)
        assert text.splitlines()[:2] == ["7767517", "4 4"]
        assert (
            text.splitlines()[-1] == f"InnerProduct linear3 1 1 linear2 linear3 0=10 1=1 2=2560 8={4 - size and 1} 9=0"
        )
        scales = 0 if contents is None else 4 * (96 + 256 + 10 + 3)
        assert len(data) == 3 * 4 + 102_400 * size + 4 * (96 + 256 + 10) + scales
        assert data.startswith(tag)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["PyTorch eager", "ONNX Runtime", "our fp32 program", OURS, OURS_C])
def test_a_runtime_classifies_as_this_model_does(task, name):
    query = next(runtimes.queries(task.calibration, task.batch))
    logits = np.asarray(RUNTIMES[name].make(task)(query))
    assert np.array_equal(logits.argmax(1), task.model(query.tensor).argmax(1).numpy())


def test_a_runtime_that_does_not_run_is_named_with_the_reason(task, monkeypatch):
    def absent(_task: Task) -> Any:
        import no_such_runtime  # noqa: F401

    monkeypatch.setattr(runtimes, "RUNTIMES", {"eager": RUNTIMES["PyTorch eager"], "absent": Runtime(absent)})
    calls, missing = runtimes.ready(task, ["eager", "absent"])
    assert list(calls) == ["eager"]
    assert missing == {"absent": "ModuleNotFoundError: No module named 'no_such_runtime'"}


@pytest.mark.parametrize("batch", [1, 3])
def test_accuracy_is_the_share_of_correct_images_at_any_batch_size(batch):
    """The first pixel is the digit; the last call is filled up with images that do not count."""
    pixels, targets = torch.zeros(4, 1, 28, 28), torch.tensor([0, 1, 2, 9])
    pixels[:, 0, 0, 0] = torch.arange(4)
    sizes = set()

    def call(query):
        sizes.add(len(query.array))
        return np.eye(10)[query.array[:, 0, 0, 0].astype(int)]

    assert runtimes.accuracy(call, pixels, targets, batch) == 0.75
    assert sizes == {batch}


def test_the_limits_are_measured_and_int8_is_not_slower_than_fp32():
    found = limits.measure()
    assert found.rate("int8") >= found.rate("fp32") > 1e9
    assert str(found).endswith(f" G exact int8 ones ({found.instruction})")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("triple", "cpu"),
    [
        ("x86_64-linux-musl", "x86_64"),
        ("x86_64-linux-musl", "skylake_avx512"),
        ("x86_64-linux-musl", "cascadelake"),
        ("x86_64-linux-musl", "alderlake"),
        ("aarch64-linux-musl", "cortex_a53"),
        ("aarch64-linux-musl", "neoverse_n1"),
        ("aarch64-macos", "apple_m1"),
    ],
)
def test_the_kernels_of_the_limits_compile_for_each_kind_of_cpu(tmp_path, triple, cpu):
    flags = ["-std=c99", "-O3", "-c", "-target", triple, f"-mcpu={cpu}"]
    toolchain.compile_files([limits.SOURCE], tmp_path / "limits.o", flags)


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


def test_the_table_is_sorted_by_the_paired_ratio_and_marks_int8_that_saturates():
    rows = {"ONNX Runtime int8": figures(1.0, 0.5), "OpenVINO": figures(2.0, 0.9), OURS_C: figures(3.0, 2.0)}
    table = runtimes.table(rows, saturates=True)
    names = [line.split("|")[1].strip() for line in table.splitlines()[2:5]]
    assert names == [OURS_C, "OpenVINO", "ONNX Runtime int8*"]
    assert table.endswith(runtimes.SATURATES)
    assert " 99.00% |" in table
    assert "*" not in runtimes.table(rows, saturates=False)


def test_the_overview_has_a_column_for_each_batch_size():
    single = {"OpenVINO int8": figures(120.0, 0.25), OURS: figures(10.04)}
    results = {"batch_1": {"figures": single}, "batch_8": {"figures": {OURS: figures(50.0)}}}
    assert runtimes.overview(results, saturates=True).splitlines()[2:] == [
        f"| {OURS} | 99.00 % | 10.0 (1.00, 1.00) | 50.0 (1.00, 1.00) |",
        r"| OpenVINO int8\* | 99.00 % | 120 (0.25, 0.25) | - |",
    ]


def test_outcomes_are_merged_with_the_references_of_the_first_process():
    first = {1: {"figures": {OURS: figures(1.0), "control": figures(1.0, control=True)}, "missing": {}}}
    second = {
        1: {
            "figures": {OURS: figures(9.0), "MNN": figures(2.0), "control": figures(9.0, 2.0, control=True)},
            "missing": {"MNN int8": "OSError: no"},
        }
    }
    merged = runtimes.merged({"torch": first, "MNN": second}, 1)
    assert {name: values["p50_us"] for name, values in merged["figures"].items()} == {OURS: 1.0, "MNN": 2.0}
    assert runtimes.remarks(merged) == [
        "NOISY beside MNN: our int8 program over itself is 2.000 [1.800, 2.200]",
        "MNN int8 did not run: OSError: no",
    ]


def end_process(*_arguments: Any) -> None:
    """What a runtime does whose C++ code fails."""
    os._exit(1)


@pytest.mark.slow
def test_a_package_that_ends_its_process_is_named(monkeypatch):
    monkeypatch.setattr(runtimes, "BATCHES", (1,))
    monkeypatch.setattr(runtimes, "measure_package", end_process)
    outcome = runtimes.in_own_process("ncnn", Limits(1.0, 1.0, ""))
    assert outcome == {1: {"figures": {}, "missing": dict.fromkeys(["ncnn", "ncnn int8"], "its process died")}}


@pytest.mark.slow
def test_the_comparison_runs_to_its_end(ran, capsys, monkeypatch):
    """In one process: other processes would not have the shorter settings."""
    some = ("PyTorch eager", "TorchScript", "ONNX Runtime int8", OURS, OURS_C)
    monkeypatch.setattr(runtimes, "RUNTIMES", {name: RUNTIMES[name] for name in some})
    monkeypatch.setattr(runtimes, "BATCHES", (1, 32))
    monkeypatch.setattr(runtimes, "ROUNDS", 8)
    monkeypatch.setattr(
        runtimes, "in_own_process", lambda package, limit: runtimes.measure_package(package, runtimes.BATCHES, limit)
    )
    runtimes.main()
    out = capsys.readouterr().out
    assert "limit: " in out
    assert out.count(f"| {OURS} ") == out.count(f"| {OURS_C} ") == 3, "two batch sizes, and the overview"
    assert "did not run" not in out
