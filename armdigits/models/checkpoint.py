"""Checkpoints: weights in a safetensors file, with a record that ties them to the data and settings they come from.

The teacher's logits for the training images are stored in the same way. Safetensors files hold no code, unlike a
pickle. The format does not detect a flipped bit, so the record has a digest of the tensors. The record is one
metadata entry with JSON inside: safetensors writes several entries in random order, and the bytes would differ.
"""

import json
from pathlib import Path
from typing import TypeVar

import torch
from pydantic import ValidationError
from pydantic_core import from_json
from safetensors.torch import save
from torch import Tensor, nn

from armdigits.core import files, paths, records
from armdigits.core.errors import BadInput
from armdigits.core.parameters import Model, Recipe
from armdigits.data.dataset import header_length, read_provenance, tensors_in
from armdigits.models import networks

Content = TypeVar("Content", bound=records.Record)


def weights_sha256(weights: dict[str, Tensor]) -> str:
    """The SHA-256 over the names, shapes, types and bytes of the weights, in the order of their names."""
    parts = []
    for name, tensor in sorted(weights.items()):
        parts.append(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        parts.append(tensor.detach().contiguous().numpy().tobytes())
    return files.sha256(b"".join(parts))


def write_checkpoint(path: Path, model: nn.Module, settings: Recipe | None = None) -> int:
    """Write the weights of `model`, an instance of a registered network; see `write_tensors`."""
    return write_tensors(path, model.state_dict(), settings, networks.name_of(model))


def write_tensors(
    path: Path, tensors: dict[str, Tensor], settings: Recipe | None = None, network: str | None = None
) -> int:
    """Write tensors with `settings`, the name of their network, and the digests of themselves and of the training data.

    Returns:
        The size of the file in bytes.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    data = read_provenance()
    record = records.Checkpoint(
        format=3,
        network=network,
        shape=data.shape,
        train_data_sha256=data.of(paths.TRAIN_DATA).sha256,
        settings=settings.model_dump() if settings else None,
        weights_sha256=weights_sha256(tensors),
    )
    content = pack(tensors, record)
    files.write_bytes(path, content)
    return len(content)


def read_checkpoint(path: Path, settings: Recipe | None = None, network: Model | None = None) -> tuple[nn.Module, str]:
    """Read the network that is named in the file, without dropout, in evaluation mode.

    Args:
        path: the file.
        settings: the settings that it must have been trained with; None accepts any.
        network: the choice of network that it must have been made with; None accepts any.

    Returns:
        The network and the SHA-256 of its weights.

    Raises:
        BadInput: as `read_tensors` and `networks.build`, or the weights do not fit the network.
    """
    weights, record = read_tensors(path, "train", settings)
    name = record.network
    if network and name != network.name:
        raise BadInput(f"{path}: made with another model.name than that in params.yaml; run: dvc repro --force train")
    if name is None or name not in networks.NETWORKS:
        raise BadInput(f"{path}: of an unknown network ({name}); run: dvc repro --force train")
    model = networks.build(name, record.shape, len(read_provenance().classes), use_dropout=False)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise BadInput(f"{path}: not the weights of this model ({what}); run: dvc repro --force train") from None
    return model.eval(), record.weights_sha256


def read_teacher_logits(path: Path, settings: Recipe | None = None) -> Tensor:
    """Read the teacher's logits for the training images, float32 [N, classes]; [0, classes] where none was trained.

    Raises:
        BadInput: as `read_tensors`, or the file holds something else.
    """
    tensors, _ = read_tensors(path, "teach", settings)
    data = read_provenance()
    counts = 0, data.of(paths.TRAIN_DATA).images
    shapes = {name: (tensor.dtype, *tensor.shape) for name, tensor in tensors.items()}
    if shapes not in [{"teacher_logits": (torch.float32, count, len(data.classes))} for count in counts]:
        raise BadInput(f"{path}: not teacher logits; run: dvc repro --force teach")
    return tensors["teacher_logits"]


def read_tensors(
    path: Path, stage: str, settings: Recipe | None = None
) -> tuple[dict[str, Tensor], records.Checkpoint]:
    """Read a file that `stage` wrote with `write_tensors`.

    Args:
        path: the file.
        stage: the stage, which has the same name as its section in params.yaml.
        settings: the settings that the file must have been made with; None accepts any.

    Returns:
        The tensors, and the record that `write_tensors` wrote with them.

    Raises:
        BadInput: the file is missing, is not a safetensors file, does not match its record, or was made from other
            data or with other settings.
    """
    again = f"run: dvc repro --force {stage}"
    content = files.read_bytes(path, stage)
    try:
        tensors, record = unpack(content, records.Checkpoint)
        digest = weights_sha256(tensors)
    except (ValueError, TypeError) as error:  # the second of types that NumPy does not have
        raise BadInput(f"{path}: not a safetensors checkpoint ({error}); {again}") from None
    if digest != record.weights_sha256:
        raise BadInput(f"{path}: expected weights of SHA-256 {record.weights_sha256:.64}, found {digest}; {again}")
    data = read_provenance()
    if record.shape != data.shape:
        raise BadInput(f"{path}: for images {list(record.shape)}, but those in data/ are {list(data.shape)}; {again}")
    if record.train_data_sha256 != data.of(paths.TRAIN_DATA).sha256:
        raise BadInput(f"{path}: trained on different data than that in data/; {again}")
    if settings and record.settings != settings.model_dump():
        raise BadInput(f"{path}: trained with different settings than those under {stage} in params.yaml; {again}")
    return tensors, record


def pack(tensors: dict[str, Tensor], record: records.Record) -> bytes:
    """A safetensors file with a record in its header."""
    return save(tensors, {"record": json.dumps(record.content(), allow_nan=False)})


def unpack(content: bytes, model: type[Content]) -> tuple[dict[str, Tensor], Content]:
    """The tensors and the record in the bytes of a safetensors file; ValueError where they are something else."""
    tensors = tensors_in(content)  # first: it checks the header
    try:
        header = from_json(content[8 : 8 + header_length(content)])
        return tensors, model.model_validate_json((header.get("__metadata__") or {}).get("record", ""))
    except ValidationError as error:
        raise ValueError(f"its record: {records.problem(error)}") from None
