"""The data set that the stages share: images and labels in safetensors files, and a record of their checksums.

Safetensors files hold no code, unlike a pickle (https://huggingface.co/docs/safetensors).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save
from torch import Tensor

from armdigits.core import files, paths, records
from armdigits.core.errors import BadInput
from armdigits.core.shape import Shape, check_shape

MAX_HEADER = 2**20  # bytes of JSON, some hundred for each tensor


@dataclass(frozen=True)
class Split:
    """Images and their labels.

    Attributes:
        images: uint8 [N, C, H, W]: 1 channel (0 is background and 255 ink) or 3 (red, green, blue).
        labels: uint8 [N], positions in the list of classes.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        """Raise ValueError for another shape or type, or no image at all."""
        count = len(self.labels)
        if self.images.dtype != torch.uint8 or self.images.dim() != 4 or len(self.images) != count:
            raise ValueError(f"images: expected uint8 [{count}, C, H, W], got {_describe(self.images)}")
        check_shape(self.shape)
        if self.labels.dtype != torch.uint8 or self.labels.dim() != 1:
            raise ValueError(f"labels: expected uint8 [N], got {_describe(self.labels)}")
        if count == 0:
            raise ValueError("labels: expected at least one")

    @property
    def shape(self) -> Shape:
        """Of an image."""
        return shape_of(self.images)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: Tensor) -> "Split":
        """The images and labels at the positions `rows`, int64 [M]."""
        return Split(self.images.index_select(0, rows), self.labels.index_select(0, rows))

    def to(self, device: torch.device) -> "Split":
        """A copy on another device."""
        return Split(self.images.to(device), self.labels.to(device))

    def pixels(self) -> Tensor:
        """The images as the model takes them: float32 [N, C, H, W], pixel / 255, in [0, 1]."""
        return pixels_of(self.images)

    def targets(self) -> Tensor:
        """The labels as loss functions and metrics take them: int64 [N]."""
        return self.labels.long()


def shape_of(images: Tensor) -> Shape:
    """The shape of an image of [N, C, H, W]."""
    _, channels, height, width = images.shape
    return channels, height, width


def pixels_of(images: Tensor) -> Tensor:
    """Images uint8 [N, C, H, W] as the model takes them: float32 of the same shape, pixel / 255, in [0, 1]."""
    return images.float().div_(255)


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def write_dataset(
    name: str,
    source: dict[str, str],
    splits: dict[Path, Split],
    classes: Sequence[str],
    left_out: Sequence[str] = (),
    reading: records.Reading = "ink",
) -> None:
    """Write each split, and last the record, without which no split can be read.

    Args:
        name: of the data set, as metrics and reports show it.
        source: the checksums of the files or arrays that the splits come from.
        splits: the split for each file.
        classes: the name of each label.
        left_out: a line for each picture that cannot be used.
        reading: how a picture file becomes an image, see armdigits/pictures/reading.py.

    Raises:
        Failure: a file cannot be written.
    """
    written = {}
    for path, split in splits.items():
        content = save({"images": split.images.contiguous(), "labels": split.labels.contiguous()})
        files.write_bytes(path, content)
        counts = torch.bincount(split.labels, minlength=len(classes)).tolist()
        written[path.name] = records.SplitFile(images=len(split), images_of_class=counts, sha256=files.sha256(content))
    record = records.Provenance.model_validate(
        {
            "format": 2,
            "name": name,
            "shape": next(iter(splits.values())).shape,
            "reading": reading,
            "classes": list(classes),
            "source": source,
            "files": written,
            "left_out": list(left_out),
            "sha256": "",
        }
    )
    records.write(paths.PROVENANCE, record.model_copy(update={"sha256": _digest(record)}))


def read_provenance() -> records.Provenance:
    """The record that `download` wrote.

    Raises:
        BadInput: the record is missing or was changed.
    """
    record = records.read(paths.PROVENANCE, records.Provenance, "download")
    if record.sha256 != _digest(record):
        raise BadInput(f"{paths.PROVENANCE}: changed since download wrote it; run: dvc repro --force download")
    return record


def _digest(record: records.Provenance) -> str:
    """The SHA-256 of the record's other entries, which it contains itself, since no other file has it."""
    return files.sha256(json.dumps(record.model_dump(exclude={"sha256"})).encode())


def read_split(path: Path) -> Split:
    """Read one split and check its bytes against the record.

    Raises:
        BadInput: the file is missing or damaged, or its checksum differs from the one in the record.
    """
    record = read_provenance()
    content = files.read_verified(path, "download", record.of(path).sha256, paths.PROVENANCE)
    try:
        tensors = tensors_in(content)
        split = Split(tensors["images"], tensors["labels"])
    except (KeyError, ValueError) as error:
        raise BadInput(f"{path}: not a split of a data set ({error}); run: dvc repro --force download") from None
    if split.shape != record.shape:
        found = f"images {list(split.shape)}, but {paths.PROVENANCE} says {list(record.shape)}"
        raise BadInput(f"{path}: {found}; run: dvc repro --force download")
    return split


def tensors_in(content: bytes) -> dict[str, Tensor]:
    """The tensors in the bytes of a safetensors file; ValueError where they are something else."""
    if header_length(content) > MAX_HEADER:
        raise ValueError(f"a header of {header_length(content):,} bytes")
    try:
        return load(content)
    except Exception as error:  # safetensors and torch raise many kinds
        raise ValueError((str(error).splitlines() or [type(error).__name__])[0][:200]) from None


def header_length(content: bytes) -> int:
    """The first entry of a safetensors file: the bytes of the header that follows."""
    return int.from_bytes(content[:8], "little")
