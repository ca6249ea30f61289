"""What a program really contains, read back from the bytes that ship.

The graph in memory proves nothing about the file. A `.pte` file has two layers: a flatbuffer that ExecuTorch's reader
decodes, and in it the data of each delegate. That of XNNPACK is a graph (flatbuffer, schema:
executorch/backends/xnnpack/serialization/schema.fbs) whose constants are stored in the `.pte` file, each under the
SHA-256 of its bytes.
"""

import json
import re
import subprocess
import tempfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armdigits.core import files
from armdigits.core.errors import BadInput
from armdigits.program.build import quiet

DTYPES: dict[str, np.dtype[Any]] = {  # XNNPACK's types; "qc" has a scale per output channel, "q" one per tensor
    "xnn_datatype_fp32": np.dtype("<f4"),
    "xnn_datatype_qint8": np.dtype("i1"),
    "xnn_datatype_qint32": np.dtype("<i4"),
    "xnn_datatype_qcint8": np.dtype("i1"),
    "xnn_datatype_qcint32": np.dtype("<i4"),
}
BACKEND = "XnnpackBackend"
TO_CHANNELS_LAST, TO_CHANNELS_FIRST = "XNNStaticTranspose 0231", "XNNStaticTranspose 0312"  # [N, C, H, W], [N, H, W, C]


@dataclass(frozen=True)
class Constant:
    """A weight or a bias as the file stores it: float32, or integers with a scale for each output."""

    stored: NDArray[Any]
    scale: NDArray[np.float32] | None

    def values(self) -> NDArray[np.float32]:
        """The values that it represents: scale * stored."""
        if self.scale is None:
            return self.stored
        return self.stored.astype(np.float32) * self.scale.reshape(-1, *[1] * (self.stored.ndim - 1))


@dataclass(frozen=True)
class Activation:
    """How an int8 tensor between two layers is stored: value = scale * (stored - zero_point)."""

    scale: np.float32
    zero_point: int


@dataclass(frozen=True)
class Linear:
    """One fully connected node.

    Attributes:
        weight: [out, in].
        bias: [out], or None when the node has none.
        relu: whether outputs below 0 become 0: the fused ReLU.
        input, output: how its activations are stored; None: as float32.
    """

    weight: Constant
    bias: Constant | None
    relu: bool
    input: Activation | None
    output: Activation | None


@dataclass(frozen=True)
class Window:
    """The pixels that a convolution or a pooling sees at a time; (height, width) each."""

    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]

    def __str__(self) -> str:
        text = "{}x{}".format(*self.size)
        if self.stride != (1, 1):
            text += " stride {}x{}".format(*self.stride)
        return text + (" padding {}x{}".format(*self.padding) if any(self.padding) else "")


@dataclass(frozen=True)
class Convolution(Linear):
    """One convolution, also a depthwise one; its weight has torch's order, [out, in / groups, height, width]."""

    window: Window
    groups: int


@dataclass(frozen=True)
class MaxPool:
    """One pooling node; it leaves scale and zero point as they are."""

    window: Window


Node = Linear | Convolution | MaxPool


@dataclass(frozen=True)
class Contents:
    """A program, in the order of its execution.

    Attributes:
        delegates: the backends, one name for each part of the graph that a backend runs.
        operators: what runs on ExecuTorch's portable kernels, outside the delegates.
        nodes: the operators inside the delegates, transposes with their axes.
        layers: those of them that compute something; the others convert, transpose and reshape.
    """

    delegates: tuple[str, ...]
    operators: tuple[str, ...]
    nodes: tuple[str, ...]
    layers: tuple[Node, ...]

    @property
    def weighted(self) -> tuple[Linear | Convolution, ...]:
        """The layers with weights."""
        return tuple(layer for layer in self.layers if isinstance(layer, Linear))


def read_back(content: bytes, name: str | Path) -> Contents:
    """Decode the bytes of a program; `name` appears in the message.

    Raises:
        BadInput: they are damaged, or were written by another version of ExecuTorch.
    """
    with quiet():
        # Private: ExecuTorch has no public reader of `.pte` files. The version is pinned, and test_contents.py reads
        # a program, so a release that moves these fails there.
        from executorch.exir._serialize._flatbuffer import _get_flatc_path
        from executorch.exir._serialize._program import deserialize_pte_binary

        try:
            return _contents(deserialize_pte_binary(content), _get_flatc_path())
        except Exception as error:  # the readers fail in many ways on damaged bytes
            reason = (str(error).splitlines() or ["no reason given"])[0]
            raise BadInput(
                f"{name}: not a complete program of this version of ExecuTorch ({type(error).__name__}: {reason}); "
                "run: dvc repro --force quantize"
            ) from None


def _contents(file: Any, flatc: str) -> Contents:
    from executorch.exir.schema import KernelCall

    (plan,) = file.program.execution_plan
    constants = _constants(file)
    payloads = [file.program.backend_delegate_data[part.processed.index].data for part in plan.delegates]
    graphs = [
        _graph(bytes(payload), flatc)
        for part, payload in zip(plan.delegates, payloads, strict=True)
        if part.id == BACKEND
    ]
    calls = [step.instr_args for chain in plan.chains for step in chain.instructions]
    operators = [plan.operators[call.op_index] for call in calls if isinstance(call, KernelCall)]
    return Contents(
        delegates=tuple(part.id for part in plan.delegates),
        operators=tuple(f"{operator.name}.{operator.overload}" for operator in operators),
        nodes=tuple(_name(node) for graph in graphs for node in graph["xnodes"]),
        layers=tuple(layer for graph in graphs for layer in _layers(graph, constants)),
    )


def _constants(file: Any) -> dict[str, bytes]:
    """The constants by name, after a check of the SHA-256 that each name ends in."""
    named = file.named_data
    constants = {key: named.buffers[entry.buffer_index] for key, entry in named.pte_data.items()} if named else {}
    for key, data in constants.items():
        if files.sha256(data) != key.removeprefix("scale_"):
            raise ValueError(f"the constant {key} does not have the SHA-256 in its name")
    return constants


def _graph(payload: bytes, flatc: str) -> Any:
    """XNNPACK's graph, decoded by the flatbuffer compiler that comes with ExecuTorch.

    flatc prints floats with six decimals, and infinity as invalid JSON. Declared as `uint`, which has the same layout,
    each arrives as its bits; see `_float`.
    """
    from executorch.backends.xnnpack import serialization
    from executorch.backends.xnnpack.serialization.xnnpack_graph_serialize import XNNHeader

    header = XNNHeader.from_bytes(payload[: XNNHeader.EXPECTED_LENGTH])
    schema = resources.files(serialization).joinpath("schema.fbs").read_text("utf-8")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "graph.fbs").write_text(re.sub(r":(\s*\[?)float\b", r":\1uint", schema), "utf-8")
        (folder / "graph.bin").write_bytes(payload[header.flatbuffer_offset :][: header.flatbuffer_size])
        command = [flatc, "--json", "--strict-json", "--defaults-json", "graph.fbs", "--", "graph.bin"]
        subprocess.run(command, cwd=folder, capture_output=True, timeout=60, check=True)
        return json.loads((folder / "graph.json").read_text("utf-8"))


def _float(bits: int) -> np.float32:
    return np.uint32(bits).view(np.float32)


def _range(clamp: dict[str, int]) -> tuple[float, float]:
    return float(_float(clamp["output_min"])), float(_float(clamp["output_max"]))


def _name(node: dict[str, Any]) -> str:
    axes = "".join(map(str, node["xnode_union"].get("perm", [])))
    return f"{node['xnode_union_type']} {axes}".rstrip()


def _layers(graph: dict[str, Any], constants: dict[str, bytes]) -> list[Node]:
    """The layers of a decoded graph. Nodes refer to values, and values to constants, by number."""
    values = {}
    for entry in graph["xvalues"]:
        value = entry["xvalue_union"]
        tensor = value.get("tensor_value", value)  # a quantized value wraps a tensor
        values[tensor["id_out"]] = tensor, value.get("quant_params", {})

    def data(number: int) -> bytes:
        return constants[graph["constant_data"][number]["named_key"]]

    def constant(number: int, axes: tuple[int, ...] | None = None) -> Constant:
        tensor, quantization = values[number]
        stored = np.frombuffer(data(tensor["constant_buffer_idx"]), DTYPES[tensor["datatype"]])
        stored = stored.reshape(tensor["dims"]).transpose(axes)
        if "scale_buffer_idx" in quantization:
            return Constant(stored, np.frombuffer(data(quantization["scale_buffer_idx"]), "<f4"))
        if "scale" in quantization:
            return Constant(stored, np.full(len(stored), _float(quantization["scale"])))
        return Constant(stored, None)

    def activation(number: int) -> Activation | None:
        quantization = values[number][1]
        return Activation(_float(quantization["scale"]), quantization["zero_point"]) if quantization else None

    def weighted(node: dict[str, Any], axes: tuple[int, ...]) -> Linear:
        ends = node["xnode_union"]
        clamp: Any = node.get("output_min_max")
        return Linear(
            weight=constant(ends["filter_id"], axes),
            bias=constant(ends["bias_id"]) if ends["bias_id"] in values else None,
            relu=bool(clamp) and _range(clamp) == (0, np.inf),
            input=activation(ends["input1_id"]),
            output=activation(ends["output_id"]),
        )

    layers: list[Node] = []
    for node in graph["xnodes"]:
        options = node["xnode_union"]
        match node["xnode_union_type"]:
            case "XNNFullyConnected":
                layers.append(weighted(node, (0, 1)))
            case "XNNConv2d" | "XNNDepthwiseConv2d" as kind:
                # XNNPACK's orders: [out, height, width, in / groups], and depthwise [1, height, width, out]
                linear = weighted(node, (0, 3, 1, 2) if kind == "XNNConv2d" else (3, 0, 1, 2))
                window = _window(options, "kernel", "subsampling")
                layers.append(Convolution(**vars(linear), window=window, groups=options["groups"]))
            case "XNNMaxPooling2d":
                layers.append(MaxPool(_window(options, "pooling", "stride")))
    return layers


def _window(options: dict[str, Any], size: str, stride: str) -> Window:
    """The window of a node, whose names for its size and stride are given."""
    top, right, bottom, left = (options[f"padding_{side}"] for side in ("top", "right", "bottom", "left"))
    if (top, left) != (bottom, right) or (options["dilation_height"], options["dilation_width"]) != (1, 1):
        raise ValueError("a window with dilation, or with different padding on opposite sides")
    sizes, strides = ((options[f"{name}_height"], options[f"{name}_width"]) for name in (size, stride))
    return Window(sizes, strides, (top, left))
