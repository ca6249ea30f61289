"""The same checkpoint through other runtimes, side by side in one process.

    python -m benchmarks.runtimes       (make peers, which installs them)

Needs the pipeline's outputs. For each batch size every runtime computes the same test images on one thread, in
interleaved blocks (armdigits/timing.py); accuracy stands beside each, so that nobody wins by computing less. A
runtime that cannot be had is named with the reason. Prints a table for each batch size and, last, one line of JSON.

The limit is that of the arithmetic: the network's multiply-adds at the best rate that this CPU reached on one thread
in a product of square matrices, float32 (torch.mm) and int8 (torch._int_mm), measured at the start. It leaves out what
the call and the reading of the weights cost: at batch 1 nothing comes near it.
"""

import json
import logging
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from armdigits import host, paths
from armdigits.checkpoint import read_checkpoint
from armdigits.dataset import read_provenance, read_split
from armdigits.errors import reported
from armdigits.model import NeuralNetwork
from armdigits.runtime import read_program, use_threads
from armdigits.timing import ratio, summarise, time_interleaved

BATCHES = (1, 32, 256)
ROUNDS = 96
CALLS = {1: 128, 32: 16, 256: 8}  # a block
CALIBRATION = 1024  # training images
SEED = 1
OURS = "our int8 program"
PACKAGES = ("onnxruntime", "openvino")


@dataclass(frozen=True)
class Query:
    """One batch in the form that each runtime likes best; the conversion is not timed."""

    tensor: Tensor
    array: NDArray[np.float32]


Call = Callable[[Query], Any]  # -> logits [N, 10], a tensor or an array


@dataclass(frozen=True)
class Task:
    """What a runtime is given: the network, calibration images float32 [N, 1, 28, 28], images a call."""

    network: NeuralNetwork
    calibration: Tensor
    batch: int


def onnx_model(network: NeuralNetwork) -> bytes:
    """The network as an ONNX model: `images` float32 [n, 1, 28, 28] -> logits float32 [n, 10]."""
    from onnx import TensorProto, helper, numpy_helper

    kinds = {nn.Flatten: "Flatten", nn.ReLU: "Relu"}
    nodes, weights, source = [], [], "images"
    for name, layer in network.layers.named_children():
        if isinstance(layer, nn.Linear):
            inputs = [source, f"{name}.weight", f"{name}.bias"]
            weights += [
                numpy_helper.from_array(getattr(layer, kind).detach().numpy(), f"{name}.{kind}")
                for kind in ("weight", "bias")
            ]
            nodes.append(helper.make_node("Gemm", inputs, [name], name, transB=1))
        elif isinstance(layer, nn.Identity):
            continue
        else:
            nodes.append(helper.make_node(kinds[type(layer)], [source], [name], name))
        source = name
    float32 = partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes, "digits", [float32("images", shape=["n", 1, 28, 28])], [float32(source, shape=["n", 10])], weights
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


# The runtimes. Each function makes a call ready, or raises whatever keeps it from that.


def eager(task: Task) -> Call:
    return lambda query: task.network(query.tensor)


def compiled(task: Task) -> Call:
    network = torch.compile(task.network, dynamic=False)
    return lambda query: network(query.tensor)


def torchscript(task: Task) -> Call:
    script = _frozen(task.network, task)
    return lambda query: script(query.tensor)


def torch_ao_int8(task: Task) -> Call:
    network = _torch_ao(task)
    return lambda query: network(query.tensor)


def torch_ao_int8_torchscript(task: Task) -> Call:
    script = _frozen(_torch_ao(task), task)
    return lambda query: script(query.tensor)


def onnxruntime_fp32(task: Task) -> Call:
    return _onnx_session(onnx_model(task.network))


def onnxruntime_int8(task: Task) -> Call:
    return _onnx_session(_onnx_int8(task))


def openvino_fp32(task: Task) -> Call:
    return _openvino(onnx_model(task.network), task)


def openvino_int8(task: Task) -> Call:
    """The int8 model that ONNX Runtime's tool made, which OpenVINO reads too."""
    return _openvino(_onnx_int8(task), task)


def our_fp32(_task: Task) -> Call:
    return _program(paths.FP32_PROGRAM)


def our_int8(_task: Task) -> Call:
    return _program(paths.INT8_PROGRAM)


RUNTIMES: dict[str, tuple[str, Callable[[Task], Call]]] = {
    "PyTorch eager": ("fp32", eager),
    "torch.compile": ("fp32", compiled),
    "TorchScript": ("fp32", torchscript),
    "torch.ao int8": ("int8", torch_ao_int8),
    "torch.ao int8 + TorchScript": ("int8", torch_ao_int8_torchscript),
    "ONNX Runtime": ("fp32", onnxruntime_fp32),
    "ONNX Runtime int8": ("int8", onnxruntime_int8),
    "OpenVINO": ("fp32", openvino_fp32),
    "OpenVINO int8": ("int8", openvino_int8),
    "our fp32 program": ("fp32", our_fp32),
    OURS: ("int8", our_int8),
}


# What several of them share.


def _program(path: Path) -> Call:
    _, weights_sha256 = read_checkpoint(paths.MODEL)
    forward = read_program(path, weights_sha256).forward
    return lambda query: forward(query.tensor)


def _frozen(network: nn.Module, task: Task) -> Callable[[Tensor], Tensor]:
    script = torch.jit.trace(network, task.calibration[: task.batch])
    return torch.jit.optimize_for_inference(torch.jit.freeze(script.eval()))


def _torch_ao(task: Task) -> nn.Module:
    """Static int8 quantization of torch.ao, the way that the tutorials of torch 1.x show; deprecated."""
    from torch.ao import quantization

    torch.backends.quantized.engine = "x86" if platform.machine() == "x86_64" else "qnnpack"
    layers = NeuralNetwork(use_dropout=False)
    layers.load_state_dict(task.network.state_dict())
    network = quantization.QuantWrapper(layers.layers).eval()
    network = quantization.fuse_modules(
        network, [["module.hidden1", "module.relu1"], ["module.hidden2", "module.relu2"]]
    )
    network.qconfig = quantization.get_default_qconfig(torch.backends.quantized.engine)
    quantization.prepare(network, inplace=True)
    network(task.calibration)
    return quantization.convert(network)


def _onnx_session(model: bytes) -> Call:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda query: session.run(None, {"images": query.array})[0]


def _onnx_int8(task: Task) -> bytes:
    """The ONNX model, quantized by ONNX Runtime's own tool: static, a weight scale for each channel."""
    import onnx
    from onnxruntime import quantization

    class Calibration(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[Tensor] = iter(task.calibration.split(256))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch.numpy()}

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            onnx.load_from_string(onnx_model(task.network)), target, Calibration(), per_channel=True
        )
        return target.read_bytes()


def _openvino(model: bytes, task: Task) -> Call:
    import openvino

    core = openvino.Core()
    graph = core.read_model(model)
    graph.reshape([task.batch, 1, 28, 28])
    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(graph, "CPU", settings).create_infer_request()
    return lambda query: request.infer(query.array, share_inputs=True)[0]


def ready(task: Task) -> tuple[dict[str, Call], dict[str, str]]:
    """The runtimes that gave a first answer for this batch size, and for the others the reason."""
    query = next(queries(task.calibration, task.batch))
    calls, missing = {}, {}
    for name, (_, make) in RUNTIMES.items():
        try:
            call = make(task)
            call(query)
            calls[name] = call
        except Exception as error:  # whatever a foreign runtime stumbles over is the reason that is shown
            missing[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return calls, missing


def queries(pixels: Tensor, batch: int) -> Iterator[Query]:
    """The images in whole batches."""
    return (Query(part, part.numpy()) for part in pixels.split(batch) if len(part) == batch)


def accuracy(call: Call, pixels: Tensor, targets: Tensor) -> float:
    """Share of the images that a call of one image each reads right."""
    predicted = [int(np.asarray(call(query)).argmax()) for query in queries(pixels, 1)]
    return float(np.mean(np.array(predicted) == targets.numpy()))


def peak() -> dict[str, float]:
    """The most multiply-adds a second that one thread of this CPU reached, by type, in any of many products."""
    rates = {"fp32": 0.0, "int8": 0.0}
    for size in (256, 512, 1024) * 10:
        real = torch.rand(size, size)
        whole = torch.randint(-128, 128, (size, size), dtype=torch.int8)
        for name, multiply, matrix in (("fp32", torch.mm, real), ("int8", torch._int_mm, whole)):
            start = time.perf_counter()
            multiply(matrix, matrix)
            rates[name] = max(rates[name], size**3 / (time.perf_counter() - start))
    return rates


def race(task: Task, pixels: Tensor, rates: dict[str, float]) -> tuple[dict[str, dict], dict[str, str]]:
    """Time the runtimes at one batch size."""
    calls, missing = ready(task)
    work = sum(weight.numel() for weight in task.network.parameters() if weight.dim() == 2) * task.batch
    contest = {**calls, "control": calls[OURS]}
    times = time_interleaved(contest, list(queries(pixels, task.batch)), ROUNDS, CALLS[task.batch], SEED)
    figures = {}
    for name in contest:
        kind = RUNTIMES.get(name, RUNTIMES[OURS])[0]
        figures[name] = {
            **summarise(times[name], task.batch),
            "ours_over_it": ratio(times[OURS], times[name], SEED),
            "times_the_limit": round(float(np.median(times[name])) / 1e9 / (work / rates[kind]), 1),
        }
    return figures, missing


def table(batch: int, figures: dict[str, dict], missing: dict[str, str], scores: dict[str, float]) -> str:
    """The figures of one batch size for people."""
    head = f"batch {batch:<21} {'p50 us':>10} {'p90 us':>10} {'images/s':>13}  {'ours / it':<21} x limit  accuracy"
    row = "{:<28}{p50_us:10.2f} {p90_us:10.2f} {images_per_s:13,.0f}  {ratio:.3f} [{low:.3f}, {high:.3f}] {:7.1f}  {}"
    lines = [head]
    for name, values in sorted(figures.items(), key=lambda item: item[1]["p50_us"]):
        score = f"{scores[name]:.2%}" if name in scores else ""
        lines.append(row.format(name, values["times_the_limit"], score, **values, **values["ours_over_it"]))
    return "\n".join(lines + [f"{name:<28}did not run: {reason}" for name, reason in missing.items()])


def installed(package: str) -> str:
    """The version of a package, or that there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def main() -> None:
    """Race at each batch size, print."""
    warnings.simplefilter("ignore")  # several of the runtimes are deprecated, and say so at each step
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    use_threads(1)
    network, _ = read_checkpoint(paths.MODEL)
    calibration = read_split(paths.TRAIN_DATA).pixels()[:CALIBRATION]
    test = read_split(paths.TEST_DATA)
    pixels = test.pixels()
    with torch.inference_mode():
        rates = peak()
        scores = {}
        machine = {**host.identify(), **host.conditions(), **{name: installed(name) for name in PACKAGES}, "threads": 1}
        print(" ".join(f"{key}={value}" for key, value in machine.items()))
        print("peak: " + ", ".join(f"{name} {rate / 1e9:.0f} G multiply-adds/s" for name, rate in rates.items()))
        results: dict[str, Any] = {"dataset": read_provenance()["name"], "host": machine, "peak": rates}
        for batch in BATCHES:
            task = Task(network, calibration, batch)
            figures, missing = race(task, pixels, rates)
            scores = scores or {name: accuracy(call, pixels, test.targets()) for name, call in ready(task)[0].items()}
            print("\n" + table(batch, figures, missing, scores), flush=True)
            results[f"batch_{batch}"] = {**figures, "missing": missing}
    print(json.dumps({**results, "accuracy": scores}))


if __name__ == "__main__":
    with reported("peers"):
        main()
