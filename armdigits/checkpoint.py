"""The checkpoint: weights in a safetensors file, with a record that ties them to the data they were trained on.

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
    """Write the weights of `network` with `settings` and the digest of the training data that `download` recorded.

    Returns:
        The size of the file in bytes.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    record = {
        "format": FORMAT,
        "train_data_sha256": read_provenance()["files"]["train.safetensors"]["sha256"],
        "settings": settings and settings.model_dump(),
        "weights_sha256": weights_sha256(weights),
    }
    content = save(weights, {"record": json.dumps(record)})
    files.write_bytes(path, content)
    return len(content)


def read_checkpoint(path: Path, settings: Recipe | None = None) -> tuple[NeuralNetwork, str]:
    """Read the network in the form without dropout, in evaluation mode.

    Returns:
        The network and the SHA-256 of its weights.

    Raises:
        BadInput: as `read_weights`.
    """
    network = NeuralNetwork(use_dropout=False)
    return network.eval(), read_weights(path, network, "train", settings)


def read_weights(path: Path, network: nn.Module, stage: str, settings: Recipe | None = None) -> str:
    """Load the weights that `stage` wrote into `network`.

    Args:
        path: the file.
        network: of the same architecture.
        stage: its name is also that of its section in params.yaml.
        settings: what it must have been trained with; None accepts any.

    Returns:
        The SHA-256 of the weights.

    Raises:
        BadInput: the file is missing, is no safetensors file, holds other weights than its record says or than
            the network has, or was trained on other data or with other settings.
    """
    again = f"run: dvc repro --force {stage}"
    content = files.read_bytes(path, stage)
    try:
        weights, record = load(content), files.safetensors_record(content)
        digest = weights_sha256(weights)
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
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        what = str(error).splitlines()[-1].strip()
        raise BadInput(f"{path}: not the weights of this network ({what}); {again}") from None
    return digest
