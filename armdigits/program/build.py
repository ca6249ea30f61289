"""Build programs: model -> exported graph -> (quantized graph) -> the bytes of a `.pte` file.

The tools are PyTorch's for Arm CPUs: torch.export, torchao's pt2e quantization (https://docs.pytorch.org/ao/stable/)
and ExecuTorch's XNNPACK backend (https://docs.pytorch.org/executorch/stable/). On one machine, equal weights and
calibration images give equal bytes.

torchao and ExecuTorch's exporters are imported where they are used: importing them takes seconds and prints warnings.
"""

import dataclasses
import logging
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from armdigits.core.errors import Failure
from armdigits.core.shape import Shape
from armdigits.data.dataset import shape_of

SMALLEST_SCALE = 2**-12  # of an activation: a layer that is always 0 has no range to take a scale from


def trace(model: nn.Module, shape: Shape, max_batch: int) -> ExportedProgram:
    """The inference graph: float32 [N, *shape] -> logits float32 [N, classes] for each N from 1 to `max_batch`.

    Puts the model into evaluation mode.
    """
    exported = _export(model.eval(), shape, max_batch)
    _flatten_in_the_delegate(exported)
    return exported


def quantize(exported: ExportedProgram, calibration: Tensor, max_batch: int) -> ExportedProgram:
    """Post-training static quantization: int8 weights with a scale per output channel, int8 activations.

    The range of an activation is the smallest and the largest value on the calibration images (torchao's
    `MinMaxObserver`). Pixels in [0, 1] give the input the scale 1/255, so quantizing the input loses nothing; the
    quantizer's default, a histogram that trims the range, would lose a little.

    Args:
        exported: the graph of the fp32 model.
        calibration: training images, float32 [N, C, H, W].
        max_batch: as for `trace`.
    """
    with quiet():
        from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
        from torchao.quantization.pt2e import MinMaxObserver
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        config = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
        activation = dataclasses.replace(
            config.input_activation, observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=SMALLEST_SCALE)
        )
        config = dataclasses.replace(config, input_activation=activation, output_activation=activation)
        prepared = prepare_pt2e(exported.module(), xnnpack_quantizer.XNNPACKQuantizer().set_global(config))
        with torch.inference_mode():
            for batch in calibration.split(max_batch):
                prepared(batch)
        return _export(convert_pt2e(prepared), shape_of(calibration), max_batch)


def lower(exported: ExportedProgram) -> bytes:
    """The `.pte` file: one XNNPACK delegate for the whole graph, each ReLU fused into the layer before it.

    The program reads its input from the caller's memory. A copy into planned memory takes a sixth of the time at
    batch 256, and memory for the largest batch.

    Raises:
        Failure: the temporary folder, where ExecuTorch assembles the file, is full.
    """
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
        from executorch.exir.passes import MemoryPlanningPass

        in_place = ExecutorchBackendConfig(memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False))
        try:
            lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
            content: bytes = lowered.to_executorch(in_place).buffer
        except subprocess.CalledProcessError as error:
            tool, folder = Path(error.cmd[0]).name, tempfile.gettempdir()
            raise Failure(f"{folder}: ExecuTorch's {tool} could not write there; free some space") from None
        return content


def empty(shape: Shape, max_batch: int, classes: int) -> bytes:
    """A program with the input and output of the others, float32 [N, *shape] -> [N, classes], that computes nothing.

    Its time is the cost of a call without the arithmetic.
    """

    class FirstPixels(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            pixels = images.flatten(1)
            if classes > prod(shape):  # at most 100 classes, at least 64 pixels
                pixels = torch.cat([pixels, pixels], 1)
            return pixels[:, :classes]

    return lower(trace(FirstPixels(), shape, max_batch))


def _export(model: nn.Module, shape: Shape, max_batch: int) -> ExportedProgram:
    # torch.export treats a batch of 1 as a constant. From smaller batches than 16 it would conclude, from a choice that
    # torch makes between its own convolutions, that batches are smaller than 16, and the program would take no others.
    example = torch.zeros(min(16, max_batch), *shape)
    dynamic = {0: Dim("batch", min=1, max=max_batch)} if max_batch > 1 else None
    return torch.export.export(model, (example,), dynamic_shapes=(dynamic,))


def _flatten_in_the_delegate(exported: ExportedProgram) -> None:
    """Give each Flatten between two layers the size -1 for the batch.

    Exported, it has the batch's symbol, which XNNPACK's reshape does not take: it would split the delegate in two. A
    Flatten of the images themselves remains outside, where it is a view that costs nothing.
    """
    for node in exported.graph.nodes:
        if node.target is torch.ops.aten.flatten.using_ints and node.args[0].op != "placeholder":
            node.target = torch.ops.aten.view.default
            node.args = (node.args[0], [-1, *node.meta["val"].shape[1:]])
    exported.graph_module.recompile()


@contextmanager
def quiet() -> Iterator[None]:
    """Mute messages of torchao and ExecuTorch that the user cannot act on.

    They concern missing CUDA libraries and deprecations inside torch, and also appear at the first import.
    """
    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
