"""The model in LiteRT's format, written directly: neither TensorFlow nor a converter is needed.

A `.tflite` file is a flatbuffer; its schema comes with LiteRT's package
(https://github.com/google-ai-edge/LiteRT, tflite/converter/schema/schema.fbs).
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from armdigits.models.mlp import NeuralNetwork
from armdigits.program.contents import Activation, Constant, Contents

VERSION = 3  # of the schema
IDENTIFIER = b"TFL3"


def litert_model(model: NeuralNetwork, batch: int) -> bytes:
    """The fp32 model: images float32 [batch, 1, 28, 28] -> logits float32 [batch, 10]."""
    graph = _Graph()
    values = graph.tensor((batch, 1, 28, 28), "FLOAT32")
    graph.inputs = [values]
    linears = (model.linear1, model.linear2, model.linear3)
    for linear in linears:
        weight, bias = (parameter.detach().numpy() for parameter in (linear.weight, linear.bias))
        constants = [graph.tensor(stored.shape, "FLOAT32", stored) for stored in (weight, bias)]
        output = graph.tensor((batch, len(bias)), "FLOAT32")
        graph.linear([values, *constants], output, relu=linear is not linears[-1])
        values = output
    return graph.content(values)


def litert_int8_model(program: Contents, batch: int) -> bytes:
    """The int8 program, integer for integer and scale for scale; images and logits are float32 as above."""
    graph = _Graph()
    images = graph.tensor((batch, 1, 28, 28), "FLOAT32")
    graph.inputs = [images]
    values = graph.tensor((batch, 1, 28, 28), "INT8", activation=program.weighted[0].input)
    graph.operator("QUANTIZE", [images], values)
    for linear in program.weighted:
        bias = linear.bias
        if bias is None:
            raise ValueError("a linear layer without bias")
        constants = [graph.constant(linear.weight, "INT8"), graph.constant(bias, "INT32")]
        output = graph.tensor((batch, len(bias.stored)), "INT8", activation=linear.output)
        graph.linear([values, *constants], output, linear.relu)
        values = output
    logits = graph.tensor((batch, len(program.weighted[-1].weight.stored)), "FLOAT32")
    graph.operator("DEQUANTIZE", [values], logits)
    return graph.content(logits)


class _Graph:
    """A model under construction. Tensors are numbers."""

    def __init__(self) -> None:
        from ai_edge_litert import schema_py_generated

        self.schema: Any = schema_py_generated
        self.inputs: list[int] = []
        self.tensors: list[Any] = []
        self.operators: list[Any] = []
        self.buffers = [self.schema.BufferT()]  # the first one stands for: no data
        self.codes: dict[str, Any] = {}

    def tensor(
        self,
        shape: tuple[int, ...],
        dtype: str,
        stored: NDArray[Any] | None = None,
        activation: Activation | None = None,
        scale: ArrayLike | None = None,
    ) -> int:
        tensor = self.schema.TensorT()
        tensor.shape, tensor.type = list(shape), getattr(self.schema.TensorType, dtype)
        if stored is not None:
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(stored).tobytes(), np.uint8)
            tensor.buffer = len(self.buffers)
            self.buffers.append(buffer)
        if activation:
            tensor.quantization = self._quantization([activation.scale], activation.zero_point)
        elif scale is not None:
            tensor.quantization = self._quantization(scale, 0)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, constant: Constant, dtype: str) -> int:
        return self.tensor(constant.stored.shape, dtype, constant.stored, scale=constant.scale)

    def linear(self, inputs: list[int], output: int, relu: bool) -> None:
        options = self.schema.FullyConnectedOptionsT()
        kinds = self.schema.ActivationFunctionType
        options.fusedActivationFunction = kinds.RELU if relu else kinds.NONE
        # Version 4 is the first with int8; the runtime accepts it for float32 too.
        self.operator("FULLY_CONNECTED", inputs, output, options, version=4)

    def operator(self, name: str, inputs: list[int], output: int, options: Any = None, version: int = 1) -> None:
        code = self.schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(self.schema.BuiltinOperator, name)
        code.version = version
        self.codes.setdefault(name, code)
        operator = self.schema.OperatorT()
        operator.opcodeIndex = list(self.codes).index(name)
        operator.inputs, operator.outputs = inputs, [output]
        if options is not None:
            operator.builtinOptions = options
            operator.builtinOptionsType = self.schema.BuiltinOptions.FullyConnectedOptions
        self.operators.append(operator)

    def _quantization(self, scale: ArrayLike, zero_point: int) -> Any:
        quantization = self.schema.QuantizationParametersT()
        quantization.scale = np.asarray(scale, np.float32)
        quantization.zeroPoint = np.full(len(quantization.scale), zero_point, np.int64)
        return quantization

    def content(self, output: int) -> bytes:
        """The file, with the tensor `output` as the result."""
        import flatbuffers

        graph, model = self.schema.SubGraphT(), self.schema.ModelT()
        graph.tensors, graph.operators, graph.inputs, graph.outputs = (
            self.tensors,
            self.operators,
            self.inputs,
            [output],
        )
        model.version, model.subgraphs, model.buffers = VERSION, [graph], self.buffers
        model.operatorCodes = list(self.codes.values())
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())
