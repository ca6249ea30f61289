"""Building the programs: network -> exported graph -> (quantized graph) -> the bytes of a `.pte` file.

The chain is PyTorch's own for Arm CPUs: torch.export, torchao's pt2e quantization
(https://docs.pytorch.org/ao/stable/) and ExecuTorch's XNNPACK backend
(https://docs.pytorch.org/executorch/stable/). The same weights and calibration images give the same bytes on the
same machine.
"""

import dataclasses
import logging
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from armdigits.dataset import CLASSES, IMAGE_SHAPE
from armdigits.errors import Failure


def export(network: nn.Module, max_batch: int) -> ExportedProgram:
    """The inference graph: float32 [n, 1, 28, 28] -> logits float32 [n, 10] for every n from 1 to `max_batch`."""
    return _export(network.eval(), max_batch)


def quantize(exported: ExportedProgram, calibration: Tensor, max_batch: int) -> ExportedProgram:
    """Post-training static quantization: int8 weights, a scale for each output channel; int8 activations.

    The range of an activation is the smallest and largest value seen (torchao's `MinMaxObserver`). Pixels in
    [0, 1] give the input the scale 1/255, so that quantizing the input loses nothing; the quantizer's default, a
    histogram that trims the range, would lose a little.

    Args:
        exported: the graph of the fp32 network.
        calibration: training images, float32 [N, 1, 28, 28].
        max_batch: as for `export`.
    """
    with quiet():
        from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
        from torchao.quantization.pt2e import MinMaxObserver
        from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

        config = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
        activation = dataclasses.replace(
            config.input_activation, observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=2**-12)
        )
        config = dataclasses.replace(config, input_activation=activation, output_activation=activation)
        prepared = prepare_pt2e(exported.module(), xnnpack_quantizer.XNNPACKQuantizer().set_global(config))
        with torch.inference_mode():
            for batch in calibration.split(max_batch):
                prepared(batch)
        return _export(convert_pt2e(prepared), max_batch)


def lower(exported: ExportedProgram) -> bytes:
    """The `.pte` file: all that XNNPACK can do in one delegate, with the ReLUs fused into the linear layers.

    The program reads its input where the caller's tensor lies. A copy into memory of its own costs a sixth of the
    time at batch 256, and memory for the largest batch.

    Raises:
        Failure: the temporary folder, in which ExecuTorch packs the file, is full.
    """
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import ExecutorchBackendConfig, to_edge_transform_and_lower
        from executorch.exir.passes import MemoryPlanningPass

        in_place = ExecutorchBackendConfig(memory_planning_pass=MemoryPlanningPass(alloc_graph_input=False))
        try:
            lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
            return lowered.to_executorch(in_place).buffer
        except subprocess.CalledProcessError as error:
            tool, folder = Path(error.cmd[0]).name, tempfile.gettempdir()
            raise Failure(f"{folder}: ExecuTorch's {tool} could not do its work there; make room in it") from None


def empty(max_batch: int) -> bytes:
    """A program of the same input and output, float32 [n, 1, 28, 28] -> [n, 10], that computes nothing.

    What a call of it costs, every call costs.
    """

    class FirstPixels(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.flatten(1)[:, :CLASSES]

    return lower(export(FirstPixels(), max_batch))


def _export(network: nn.Module, max_batch: int) -> ExportedProgram:
    example = torch.zeros(min(2, max_batch), 1, *IMAGE_SHAPE)  # torch.export takes a batch of 1 for a constant
    dynamic = {0: Dim("batch", min=1, max=max_batch)} if max_batch > 1 else None
    return torch.export.export(network, (example,), dynamic_shapes=(dynamic,))


@contextmanager
def quiet() -> Iterator[None]:
    """Mute what torchao and ExecuTorch say of themselves: absent CUDA libraries, deprecations inside torch.

    Their first import belongs in here, too.
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
