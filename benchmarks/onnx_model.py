"""The model in ONNX's format, fp32 and int8. The imports are inside: the packages come with `make peers`."""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from armdigits.models.mlp import NeuralNetwork


def onnx_model(model: NeuralNetwork) -> bytes:
    """The model in ONNX: `images` float32 [n, 1, 28, 28] -> logits float32 [n, 10]."""
    from onnx import TensorProto, helper, numpy_helper

    operators = {nn.Flatten: "Flatten", nn.ReLU: "Relu"}
    nodes, weights, source = [], [], "images"
    for name, layer in model.named_children():
        if isinstance(layer, nn.Linear):
            inputs = [source, f"{name}.weight", f"{name}.bias"]
            for key, tensor in layer.named_parameters():
                weights.append(numpy_helper.from_array(tensor.detach().numpy(), f"{name}.{key}"))
            nodes.append(helper.make_node("Gemm", inputs, [name], name, transB=1))
        elif isinstance(layer, nn.Identity):
            continue
        else:
            nodes.append(helper.make_node(operators[type(layer)], [source], [name], name))
        source = name
    float32 = partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    graph = helper.make_graph(
        nodes, "digits", [float32("images", shape=["n", 1, 28, 28])], [float32(source, shape=["n", 10])], weights
    )
    onnx = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(onnx.SerializeToString())


def onnx_int8_model(model: NeuralNetwork, calibration: Tensor) -> bytes:
    """The same, quantized by ONNX Runtime's own tool: static, a weight scale for each channel.

    Args:
        model: the fp32 model.
        calibration: training images, float32 [N, 1, 28, 28].
    """
    import onnx
    from onnxruntime import quantization

    class Calibration(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.batches: Iterator[Tensor] = iter(calibration.split(256))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch.numpy()}

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        source = onnx.load_from_string(onnx_model(model))
        quantization.quantize_static(source, target, Calibration(), per_channel=True)
        return target.read_bytes()


def fixed_batch(content: bytes, batch: int) -> bytes:
    """An ONNX model for exactly `batch` images: what some compilers need, and what makes others faster."""
    import onnx

    model = onnx.load_from_string(content)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch  # in the place of the name that it had
    del model.graph.value_info[:]  # shapes of intermediate values, with the name
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())
