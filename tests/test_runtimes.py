import numpy as np
import onnxruntime
import pytest
import torch

from armdigits import paths
from armdigits.checkpoint import read_checkpoint
from armdigits.dataset import read_split
from benchmarks import runtimes


@pytest.fixture
def task(ran) -> runtimes.Task:
    return runtimes.Task(read_checkpoint(paths.MODEL)[0], read_split(paths.TRAIN_DATA).pixels()[:200], batch=8)


def test_the_onnx_model_is_the_network_for_any_batch(task):
    session = onnxruntime.InferenceSession(runtimes.onnx_model(task.network), providers=["CPUExecutionProvider"])
    for count in (1, 5):
        pixels = task.calibration[:count]
        (logits,) = session.run(None, {"images": pixels.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), task.network(pixels).detach(), atol=1e-4, rtol=0)


@torch.inference_mode()
@pytest.mark.parametrize("name", ["PyTorch eager", "ONNX Runtime", "our fp32 program", "our int8 program"])
def test_a_runtime_computes_this_network(task, name):
    query = next(runtimes.queries(task.calibration, task.batch))
    logits = np.asarray(runtimes.RUNTIMES[name][1](task)(query))
    assert np.array_equal(logits.argmax(1), task.network(query.tensor).argmax(1).numpy())


def test_a_runtime_that_does_not_run_is_named_with_the_reason(task, monkeypatch):
    def absent(_task):
        import no_such_runtime  # noqa: F401

    theirs = {"PyTorch eager": runtimes.RUNTIMES["PyTorch eager"], "theirs": ("fp32", absent)}
    monkeypatch.setattr(runtimes, "RUNTIMES", theirs)
    calls, missing = runtimes.ready(task)
    assert list(calls) == ["PyTorch eager"]
    assert missing == {"theirs": "ModuleNotFoundError: No module named 'no_such_runtime'"}
    assert "theirs                      did not run: ModuleNotFound" in runtimes.table(8, {}, missing, {})


def test_accuracy_counts_the_images_that_were_read_right(task):
    answers = iter([0, 1, 2, 3])
    share = runtimes.accuracy(lambda _: np.eye(10)[[next(answers)]], task.calibration[:4], torch.tensor([0, 1, 2, 9]))
    assert share == 0.75
