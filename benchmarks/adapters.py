"""The runtimes that `benchmarks.runtimes` compares: for each a function that makes the model callable.

A new runtime is a function `Task -> Call` and a line in `RUNTIMES`. An exception that it raises is
shown as the reason why it did not run.
"""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from armdigits.core import paths
from armdigits.models.checkpoint import read_checkpoint
from armdigits.models.mlp import NeuralNetwork
from armdigits.program.runtime import read_program
from benchmarks.onnx_model import onnx_int8_model, onnx_model


@dataclass(frozen=True)
class Query:
    """One batch in the form that each runtime prefers; the conversion is not timed."""

    tensor: Tensor
    array: NDArray[np.float32]


Call = Callable[[Query], Any]  # -> logits [N, 10], a tensor or an array


@dataclass(frozen=True)
class Task:
    """The model, training images float32 [N, 1, 28, 28] for the calibration, and the batch size."""

    model: NeuralNetwork
    calibration: Tensor
    batch: int


@dataclass(frozen=True)
class Runtime:
    """How a runtime is made ready, and how it computes.

    Attributes:
        make: returns a call, or raises if the runtime cannot run.
        kind: "fp32" or "int8".
        saturates: whether x86 CPUs without VNNI add int8 products in pairs of 16 bits, which saturate.
    """

    make: Callable[[Task], Call]
    kind: str = "fp32"
    saturates: bool = False


def eager(task: Task) -> Call:
    """PyTorch as it is."""
    return lambda query: task.model(query.tensor)


def compiled(task: Task) -> Call:
    """torch.compile."""
    model = torch.compile(task.model, dynamic=False)
    return lambda query: model(query.tensor)


def torchscript(task: Task) -> Call:
    """TorchScript, traced and frozen; deprecated."""
    script = _frozen(task.model, task)
    return lambda query: script(query.tensor)


def torch_ao_int8(task: Task) -> Call:
    """torch.ao's eager mode quantization; deprecated."""
    model = _torch_ao(task)
    return lambda query: model(query.tensor)


def torch_ao_int8_torchscript(task: Task) -> Call:
    """The same in TorchScript."""
    script = _frozen(_torch_ao(task), task)
    return lambda query: script(query.tensor)


def onnxruntime_fp32(task: Task) -> Call:
    """ONNX Runtime's CPU provider."""
    return _onnx_session(onnx_model(task.model))


def onnxruntime_int8(task: Task) -> Call:
    """ONNX Runtime with the int8 model of its own tool."""
    return _onnx_session(onnx_int8_model(task.model, task.calibration))


def openvino_fp32(task: Task) -> Call:
    """OpenVINO, which reads ONNX models."""
    return _openvino(onnx_model(task.model), task)


def openvino_int8(task: Task) -> Call:
    """OpenVINO with the int8 model of ONNX Runtime's tool."""
    return _openvino(onnx_int8_model(task.model, task.calibration), task)


def program(path: Path, _task: Task) -> Call:
    """A program of the pipeline, without the checks of its images."""
    _, weights_sha256 = read_checkpoint(paths.MODEL)
    forward = read_program(path, weights_sha256).forward
    return lambda query: forward(query.tensor)


OURS = "our int8 program"
RUNTIMES: dict[str, Runtime] = {
    "PyTorch eager": Runtime(eager),
    "torch.compile": Runtime(compiled),
    "TorchScript": Runtime(torchscript),
    "torch.ao int8": Runtime(torch_ao_int8, "int8"),
    "torch.ao int8 + TorchScript": Runtime(torch_ao_int8_torchscript, "int8"),
    "ONNX Runtime": Runtime(onnxruntime_fp32),
    "ONNX Runtime int8": Runtime(onnxruntime_int8, "int8", saturates=True),
    "OpenVINO": Runtime(openvino_fp32),
    "OpenVINO int8": Runtime(openvino_int8, "int8", saturates=True),
    "our fp32 program": Runtime(partial(program, paths.FP32_PROGRAM)),
    OURS: Runtime(partial(program, paths.INT8_PROGRAM), "int8"),
}


def _onnx_session(model: bytes) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda query: session.run(None, {"images": query.array})[0]


def _openvino(model: bytes, task: Task) -> Call:
    import openvino

    core = openvino.Core()
    graph = core.read_model(model)
    graph.reshape([task.batch, 1, 28, 28])
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(graph, "CPU", settings).create_infer_request()
    return lambda query: request.infer(query.array, share_inputs=True)[0]


def _frozen(model: nn.Module, task: Task) -> Callable[[Tensor], Tensor]:
    script = torch.jit.trace(model, task.calibration[: task.batch])
    frozen: Callable[[Tensor], Tensor] = torch.jit.optimize_for_inference(torch.jit.freeze(script.eval()))
    return frozen


def _torch_ao(task: Task) -> nn.Module:
    """Static int8 quantization as in torch 1.x's tutorials. Its ranges are reduced, so that nothing saturates."""
    from torch.ao import quantization

    torch.backends.quantized.engine = "x86" if platform.machine() == "x86_64" else "qnnpack"
    bare = NeuralNetwork(use_dropout=False)
    bare.load_state_dict(task.model.state_dict())
    fused = [["module.linear1", "module.relu1"], ["module.linear2", "module.relu2"]]
    model = quantization.fuse_modules(quantization.QuantWrapper(bare).eval(), fused)
    model.qconfig = quantization.get_default_qconfig(torch.backends.quantized.engine)
    quantization.prepare(model, inplace=True)
    model(task.calibration)
    quantized: nn.Module = quantization.convert(model)
    return quantized
