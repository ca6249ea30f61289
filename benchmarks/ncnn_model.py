"""The model in ncnn's format, written directly: a text that lists the layers, and the numbers of all layers in a row.

Formats: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure and ncnn's src/layer/innerproduct.cpp.
"""

import numpy as np
from torch import nn

from armdigits.models.mlp import NeuralNetwork
from armdigits.program.contents import Contents

MAGIC = 7767517
FLOAT32, INT8 = (np.array([tag], "<u4").tobytes() for tag in (0, 0x000D4B38))  # stand before the weights of a layer
INPUT, OUTPUT = "images", "linear3"


def ncnn_model(model: NeuralNetwork, program: Contents | None = None) -> tuple[str, bytes]:
    """The text and the numbers: 784 pixels float32 (or [N, 784]) -> 10 logits float32 ([N, 10]).

    Args:
        model: the fp32 model.
        program: the int8 program, for int8 in ncnn's own scheme: weights from -127 to 127 with a scale for each output,
            inputs of each layer likewise with one scale, here for the ranges that the program was calibrated to.
    """
    linears = [(name, layer) for name, layer in model.named_children() if isinstance(layer, nn.Linear)]
    lines, data, source = [f"Input {INPUT} 0 1 {INPUT} 0=784"], b"", INPUT
    for position, (name, linear) in enumerate(linears):
        weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
        parameters = {
            0: len(bias),
            1: 1,
            2: weight.size,
            8: int(program is not None),
            9: int(name != OUTPUT),
        }  # 9: ReLU
        numbered = " ".join(f"{number}={value}" for number, value in parameters.items())
        lines.append(f"InnerProduct {name} 1 1 {source} {name} {numbered}")
        source = name
        if program is None:
            data += FLOAT32 + weight.tobytes() + bias.tobytes()
            continue
        range_of = program.weighted[position].input
        if range_of is None:
            raise ValueError(f"{name}: expected an int8 input")
        steps = np.float32(127) / np.abs(weight).max(1)
        largest = range_of.scale * np.float32(127 - range_of.zero_point)
        stored = np.rint(weight * steps[:, None]).astype(np.int8)
        data += INT8 + stored.tobytes() + bias.tobytes() + steps.tobytes() + (np.float32(127) / largest).tobytes()
    return "\n".join([str(MAGIC), f"{len(lines)} {len(lines)}", *lines, ""]), data
