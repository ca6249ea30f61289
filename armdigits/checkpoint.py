"""The checkpoint: weights in a safetensors file, with a record that ties them to the data they were trained on.

The teacher's opinions on the training images are kept in the same way.

Safetensors holds no code, unlike a pickle. Nothing in the format notices a flipped bit, which is why the record
carries a digest of the weights. The record is one metadata entry, as JSON: several entries would be written in
random order, and the same weights would give different bytes.
"""

import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from armdigits import files
from armdigits.dataset import read_provenance
from armdigits.errors import BadInput
from armdigits.model import NeuralNetwork
from armdigits.parameters import Recipe

FORMAT = 1


def weights_sha256(weights: dict[str, Tensor]) -> str:
    """The SHA-256 over the names, shapes, types and bytes of the weights, in the order of their names."""
    parts = []
    for name, tensor in sorted(weights.items()):
        parts.append(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        parts.append(tensor.detach().contiguous().numpy().tobytes())
    return files.sha256(b"".join(parts))


def write_checkpoint(path: Path, network: nn.Module, settings: Recipe | None = None) -> int:
    """Write the weights of `network`; see `write_tensors`."""
    return write_tensors(path, network.state_dict(), settings)


def write_tensors(path: Path, tensors: dict[str, Tensor], settings: Recipe | None = None) -> int:
    """Write tensors with `settings`, their digest and that of the training data that `download` recorded.

    Returns:
        The size of the file in bytes.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    record = {
        "format": FORMAT,
        "train_data_sha256": read_provenance()["files"]["train.safetensors"]["sha256"],
        "settings": settings and settings.model_dump(),
        "weights_sha256": weights_sha256(tensors),
    }
    content = save(tensors, {"record": json.dumps(record)})
    files.write_bytes(path, content)
    return len(content)


def read_checkpoint(path: Path, settings: Recipe | None = None) -> tuple[NeuralNetwork, str]:
    """Read the network in the form without dropout, in evaluation mode.

    Returns:
        The network and the SHA-256 of its weights.

    Raises:
        BadInput: as `read_tensors`, or the weights are not those of this network.
    """
    network = NeuralNetwork(use_dropout=False)
    weights, digest = read_tensors(path, "train", settings)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise BadInput(f"{path}: not the weights of this network ({what}); run: dvc repro --force train") from None
    return network.eval(), digest


def read_opinions(path: Path, settings: Recipe | None = None) -> Tensor:
    """Read the teacher's logits for the training images, float32 [N, 10].

    Raises:
        BadInput: as `read_tensors`, or they are no opinions.
    """
    tensors, _ = read_tensors(path, "teach", settings)
    if set(tensors) != {"opinions"}:
        raise BadInput(f"{path}: not the opinions of a teacher; run: dvc repro --force teach")
    return tensors["opinions"]


def read_tensors(path: Path, stage: str, settings: Recipe | None = None) -> tuple[dict[str, Tensor], str]:
    """Read what `stage` wrote by `write_tensors`.

    Args:
        path: the file.
        stage: its name is also that of its section in params.yaml.
        settings: what the file must have been made with; None accepts any.

    Returns:
        The tensors and their SHA-256.

    Raises:
        BadInput: the file is missing, is no safetensors file, holds other tensors than its record says, or was made
            from other data or with other settings.
    """
    again = f"run: dvc repro --force {stage}"
    content = files.read_bytes(path, stage)
    try:
        tensors, record = load(content), files.safetensors_record(content)
        digest = weights_sha256(tensors)
    except (SafetensorError, ValueError, TypeError) as error:
        raise BadInput(f"{path}: not a safetensors checkpoint ({error}); {again}") from None
    if record.get("format") != FORMAT:
        raise BadInput(f"{path}: expected checkpoint format {FORMAT}, found {record.get('format', 'none')}; {again}")
    expected = record.get("weights_sha256")
    if digest != expected:
        raise BadInput(f"{path}: expected weights of SHA-256 {expected}, found {digest}; {again}")
    if record.get("train_data_sha256") != read_provenance()["files"]["train.safetensors"]["sha256"]:
        raise BadInput(f"{path}: trained on other data than data/ holds now; {again}")
    if settings and record.get("settings") != settings.model_dump():
        raise BadInput(f"{path}: trained with other settings than those under {stage} in params.yaml; {again}")
    return tensors, digest
