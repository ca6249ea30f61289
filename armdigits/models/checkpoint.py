"""Checkpoints: weights in a safetensors file, with a record that ties them to the data and settings they come from.

The teacher's logits for the training images are stored in the same way. Safetensors files hold no code, unlike a
pickle. The format does not detect a flipped bit, so the record has a digest of the tensors. The record is one
metadata entry with JSON inside: safetensors writes several entries in random order, and the bytes would differ.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from armdigits.core import files
from armdigits.core.errors import BadInput
from armdigits.core.parameters import Model, Recipe
from armdigits.data.dataset import read_provenance
from armdigits.models import networks

FORMAT = 2


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
    record = {
        "format": FORMAT,
        "network": network,
        "train_data_sha256": read_provenance()["files"]["train.safetensors"]["sha256"],
        "settings": settings and settings.model_dump(),
        "weights_sha256": weights_sha256(tensors),
    }
    content = save(tensors, {"record": json.dumps(record)})
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
    name = record.get("network")
    if network and name != network.name:
        raise BadInput(f"{path}: made with another model.name than that in params.yaml; run: dvc repro --force train")
    if name not in networks.NETWORKS:
        raise BadInput(f"{path}: of an unknown network ({name}); run: dvc repro --force train")
    model = networks.build(name, len(read_provenance()["classes"]), use_dropout=False)
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise BadInput(f"{path}: not the weights of this model ({what}); run: dvc repro --force train") from None
    return model.eval(), record["weights_sha256"]


def read_teacher_logits(path: Path, settings: Recipe | None = None) -> Tensor:
    """Read the teacher's logits for the training images, float32 [N, 10].

    Raises:
        BadInput: as `read_tensors`, or the file holds something else.
    """
    tensors, _ = read_tensors(path, "teach", settings)
    if set(tensors) != {"teacher_logits"}:
        raise BadInput(f"{path}: not teacher logits; run: dvc repro --force teach")
    return tensors["teacher_logits"]


def read_tensors(path: Path, stage: str, settings: Recipe | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
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
        tensors, record = load(content), _record_in(content)
        digest = weights_sha256(tensors)
        expected = record.get("weights_sha256")
    except (SafetensorError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise BadInput(f"{path}: not a safetensors checkpoint ({error}); {again}") from None
    if record.get("format") != FORMAT:
        raise BadInput(f"{path}: expected checkpoint format {FORMAT}, found {record.get('format', 'none')}; {again}")
    if digest != expected:
        raise BadInput(f"{path}: expected weights of SHA-256 {expected}, found {digest}; {again}")
    if record.get("train_data_sha256") != read_provenance()["files"]["train.safetensors"]["sha256"]:
        raise BadInput(f"{path}: trained on different data than that in data/; {again}")
    if settings and record.get("settings") != settings.model_dump():
        raise BadInput(f"{path}: trained with different settings than those under {stage} in params.yaml; {again}")
    return tensors, record


def _record_in(content: bytes) -> dict[str, Any]:
    """The record in the header of a safetensors file: JSON, after its length in 8 bytes."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    record: dict[str, Any] = json.loads(header["__metadata__"]["record"])
    return record
