"""The runtimes that `benchmarks.runtimes` compares: for each a function that makes the model callable.

A new runtime is a function `Task -> Call` and a line in `RUNTIMES`. An exception that it raises is
shown as the reason why it did not run.
"""

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from armdigits.core import paths
from armdigits.csource.binding import read_c_program
from armdigits.models.checkpoint import read_checkpoint
from armdigits.models.mlp import NeuralNetwork
from armdigits.program.contents import Contents, read_back
from armdigits.program.runtime import read_content, read_program
from benchmarks import ncnn_model
from benchmarks.litert_model import litert_int8_model, litert_model
from benchmarks.onnx_model import fixed_batch, onnx_int8_model, onnx_model


@dataclass(frozen=True)
class Query:
    """One batch in the form that each runtime prefers; the conversion is not timed.

    Attributes:
        tensor, array: float32 [N, 1, 28, 28], the same memory.
    """

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
        package: the distribution that it comes with. All runtimes of one package share a process.
        kind: "fp32" or "int8".
        saturates: whether x86 CPUs without VNNI add int8 products in pairs of 16 bits, which saturate.
    """

    make: Callable[[Task], Call]
    package: str = "torch"
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


def litert(task: Task) -> Call:
    """LiteRT, formerly TensorFlow Lite, with NumPy arrays; it delegates to XNNPACK."""
    return _litert(litert_model(task.model, task.batch))


def litert_int8(task: Task) -> Call:
    """LiteRT with the integers of our int8 program."""
    return _litert(litert_int8_model(int8_contents(), task.batch))


def litert_int8_tensors(task: Task) -> Call:
    """The same from tensor to tensor."""
    call = _litert(litert_int8_model(int8_contents(), task.batch))
    return lambda query: torch.from_numpy(call(Query(query.tensor, query.tensor.numpy())))


def mnn(task: Task) -> Call:
    """MNN, which converts ONNX models."""
    with tempfile.TemporaryDirectory() as name:
        return _mnn_session(_mnn_file(task, Path(name)), task)


def mnn_int8(task: Task) -> Call:
    """MNN with the int8 model of its own tool, which reads the calibration images from files."""
    from PIL import Image

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "images").mkdir()
        for position, pixels in enumerate((task.calibration[:, 0] * 255).round().byte().numpy()):
            Image.fromarray(pixels).save(folder / "images" / f"{position}.png")
        shape = {"format": "GRAY", "mean": [0.0], "normal": [1 / 255], "width": 28, "height": 28}
        images = {"path": f"{folder}/images/", "used_image_num": len(task.calibration)}
        method = {"feature_quantize_method": "KL", "weight_quantize_method": "MAX_ABS", "quant_bits": 8}
        (folder / "settings.json").write_text(json.dumps({**shape, **images, **method}), "utf-8")
        source, target = _mnn_file(task, folder), folder / "int8.mnn"
        _mnn_tool("mnnquant", str(source), str(target), str(folder / "settings.json"))
        return _mnn_session(target, task)


def ncnn(task: Task) -> Call:
    """ncnn."""
    return _ncnn(*ncnn_model.ncnn_model(task.model), task)


def ncnn_int8(task: Task) -> Call:
    """ncnn's int8."""
    return _ncnn(*ncnn_model.ncnn_model(task.model, int8_contents()), task)


def tract(task: Task) -> Call:
    """tract, which reads ONNX models."""
    return _tract(onnx_model(task.model), task)


def tract_int8(task: Task) -> Call:
    """tract with the int8 model of ONNX Runtime's tool."""
    return _tract(onnx_int8_model(task.model, task.calibration), task)


def iree(task: Task) -> Call:
    """IREE, which compiles ONNX models for this CPU."""
    return _iree(onnx_model(task.model), task)


def iree_int8(task: Task) -> Call:
    """IREE with the int8 model of ONNX Runtime's tool."""
    return _iree(onnx_int8_model(task.model, task.calibration), task)


def program(path: Path, _task: Task) -> Call:
    """A program of the pipeline, without the checks of its images."""
    _, weights_sha256 = read_checkpoint(paths.MODEL)
    forward = read_program(path, weights_sha256).forward
    return lambda query: forward(query.tensor)


def c_program(_task: Task) -> Call:
    """The C source of the pipeline, called with a float32 tensor."""
    forward = read_c_program().on_tensors()
    return lambda query: forward(query.tensor)


def c_program_arrays(_task: Task) -> Call:
    """The same, called with an array."""
    forward = read_c_program().on_arrays()
    return lambda query: forward(query.array)


@cache
def int8_contents() -> Contents:
    """What the int8 program holds."""
    return read_back(read_content(paths.INT8_PROGRAM), paths.INT8_PROGRAM)


OURS, OURS_C = "our int8 program", "our C program"
REFERENCES: dict[str, Runtime] = {  # timed in every process
    OURS: Runtime(partial(program, paths.INT8_PROGRAM), kind="int8"),
    OURS_C: Runtime(c_program, kind="int8"),
}
RUNTIMES: dict[str, Runtime] = {
    **REFERENCES,
    "our C program, arrays": Runtime(c_program_arrays, kind="int8"),
    "our fp32 program": Runtime(partial(program, paths.FP32_PROGRAM)),
    "PyTorch eager": Runtime(eager),
    "torch.compile": Runtime(compiled),
    "TorchScript": Runtime(torchscript),
    "torch.ao int8": Runtime(torch_ao_int8, kind="int8"),
    "torch.ao int8 + TorchScript": Runtime(torch_ao_int8_torchscript, kind="int8"),
    "ONNX Runtime": Runtime(onnxruntime_fp32, "onnxruntime"),
    "ONNX Runtime int8": Runtime(onnxruntime_int8, "onnxruntime", "int8", saturates=True),
    "OpenVINO": Runtime(openvino_fp32, "openvino"),
    "OpenVINO int8": Runtime(openvino_int8, "openvino", "int8", saturates=True),
    "LiteRT": Runtime(litert, "ai-edge-litert"),
    "LiteRT int8": Runtime(litert_int8, "ai-edge-litert", "int8"),
    "LiteRT int8, tensors": Runtime(litert_int8_tensors, "ai-edge-litert", "int8"),
    "MNN": Runtime(mnn, "MNN"),
    "MNN int8": Runtime(mnn_int8, "MNN", "int8"),
    "ncnn": Runtime(ncnn, "ncnn"),
    "ncnn int8": Runtime(ncnn_int8, "ncnn", "int8"),
    "tract": Runtime(tract, "tract"),
    "tract int8": Runtime(tract_int8, "tract", "int8"),
    "IREE": Runtime(iree, "iree-base-runtime"),
    "IREE int8": Runtime(iree_int8, "iree-base-runtime", "int8"),
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


def _litert(model: bytes) -> Callable[[Query], NDArray[np.float32]]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    source = interpreter.get_input_details()[0]["index"]
    target = interpreter.get_output_details()[0]["index"]

    def call(query: Query) -> NDArray[np.float32]:
        interpreter.set_tensor(source, query.array)
        interpreter.invoke()
        logits: NDArray[np.float32] = interpreter.get_tensor(target)  # a copy
        return logits

    return call


def _mnn_tool(name: str, *arguments: str) -> None:
    """Run one of MNN's C++ tools, in a process of its own: they end it when they fail, and disturb the next call.

    MNN's commands of the same names would install a package and send a record of each use.
    """
    code = "import _tools, sys; getattr(_tools, sys.argv[1])(sys.argv[1:])"
    subprocess.run([sys.executable, "-c", code, name, *arguments], capture_output=True, timeout=300, check=True)


def _mnn_file(task: Task, folder: Path) -> Path:
    source, target = folder / "fp32.onnx", folder / "fp32.mnn"
    source.write_bytes(onnx_model(task.model))
    options = ("-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(target), "--bizCode", "digits")
    _mnn_tool("mnnconvert", *options)
    return target


def _mnn_session(path: Path, task: Task) -> Call:
    import MNN

    interpreter = MNN.Interpreter(str(path))
    session = interpreter.createSession({"backend": "CPU", "numThread": 1, "precision": "high"})
    source = interpreter.getSessionInput(session)
    interpreter.resizeTensor(source, (task.batch, 1, 28, 28))
    interpreter.resizeSession(session)
    target = interpreter.getSessionOutput(session)
    kind, layout = MNN.Halide_Type_Float, MNN.Tensor_DimensionType_Caffe
    logits = MNN.Tensor((task.batch, 10), kind, np.zeros((task.batch, 10), np.float32), layout)

    def call(query: Query) -> NDArray[np.float32]:
        source.copyFrom(MNN.Tensor((task.batch, 1, 28, 28), kind, query.array, layout))
        interpreter.runSession(session)
        target.copyToHostTensor(logits)
        return np.array(logits.getNumpyData())

    return call


def _ncnn(layers: str, numbers: bytes, task: Task) -> Call:
    import ncnn as package

    net = package.Net()
    net.opt.num_threads = 1
    for name in ("packed", "storage", "arithmetic"):
        setattr(net.opt, f"use_fp16_{name}", False)
    with tempfile.TemporaryDirectory() as name:
        text, data = Path(name, "digits.param"), Path(name, "digits.bin")
        text.write_text(layers, "utf-8")
        data.write_bytes(numbers)
        if net.load_param(str(text)) or net.load_model(str(data)):
            raise RuntimeError("ncnn refuses the model")
    shape = 784 if task.batch == 1 else (task.batch, 784)

    def call(query: Query) -> NDArray[np.float32]:
        extractor = net.create_extractor()
        extractor.input(ncnn_model.INPUT, package.Mat(query.array.reshape(shape)))
        return np.array(extractor.extract(ncnn_model.OUTPUT)[1]).reshape(-1, 10)

    return call


def _tract(model: bytes, task: Task) -> Call:
    import tract as package

    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "digits.onnx")
        path.write_bytes(fixed_batch(model, task.batch))
        run = package.onnx().load(path).into_model().into_runnable().run
    return lambda query: run([query.array])[0].to_numpy()


def _iree(model: bytes, task: Task) -> Call:
    import onnx
    from iree import compiler, runtime
    from iree.compiler import ir
    from iree.compiler.extras import onnx_importer

    info = onnx_importer.ModelInfo(onnx.load_from_string(fixed_batch(model, task.batch)))
    module = info.create_module(context=ir.Context()).operation
    onnx_importer.NodeImporter.define_function(info.main_graph, module).import_all()
    flags = ["--iree-llvmcpu-target-cpu=host", "--iree-opt-level=O3"]
    compiled = compiler.compile_str(str(module), input_type="onnx", target_backends=["llvm-cpu"], extra_args=flags)
    context = runtime.SystemContext(config=runtime.Config("local-sync"))  # computes in the thread that calls
    context.add_vm_module(runtime.VmModule.copy_buffer(context.instance, compiled))
    function = context.modules.module[info.main_graph.graph_proto.name]
    return lambda query: function(query.array).to_host()


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
