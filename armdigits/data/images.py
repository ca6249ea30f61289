"""What a data set loads, and its images in parts for training, validation and test."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from armdigits.core.errors import BadInput
from armdigits.data.dataset import Split


class Images(NamedTuple):
    """What a data set in armdigits/data/registry.py loads.

    Attributes:
        train: the images from which the validation images are taken.
        test: the test images.
        source: the checksums of the files or arrays that they come from.
        classes: the name of each label.
        left_out: a line for each picture that cannot be used: its path, and the reason.
        added: training images besides `train`.
    """

    train: Split
    test: Split
    source: dict[str, str]
    classes: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    added: Split | None = None


def split_off(split: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Set `count` random images aside, stratified by class. Both parts keep the order of the original.

    Returns:
        The remaining images, and the `count` images.
    """
    rest, part = train_test_split(
        np.arange(len(split)), test_size=count, random_state=seed, stratify=split.labels.numpy()
    )
    return split[torch.from_numpy(np.sort(rest))], split[torch.from_numpy(np.sort(part))]


def parts_of(images: Images, validation: int, seed: int) -> dict[str, Split]:
    """The training, the validation and the test images. Each part has at least one image of each class.

    Raises:
        BadInput: one has not, and its scores for that class would mean nothing; or there are labels without a class.
    """
    _check("training", images.train, images.classes, least=2)  # one of them for the validation
    _check("test", images.test, images.classes)
    train, held_out = split_off(images.train, validation, seed)
    _check("training", train, images.classes)
    _check("validation", held_out, images.classes)
    if images.added:
        added = images.added
        train = Split(torch.cat([train.images, added.images]), torch.cat([train.labels, added.labels]))
    return {"train": train, "validation": held_out, "test": images.test}


def _check(part: str, split: Split, classes: Sequence[str], least: int = 1) -> None:
    counts = torch.bincount(split.labels, minlength=len(classes)).tolist()
    if len(counts) > len(classes):
        raise BadInput(f"{part} images: labels up to {len(counts) - 1}, but {len(classes)} classes")
    few = [f"{count} of {name}" for name, count in zip(classes, counts, strict=True) if count < least]
    if few:
        advice = "; change dataset.validation" if part == "validation" else ""
        listed = ", ".join(few[:10]) + (", ..." if len(few) > 10 else "")
        raise BadInput(f"{part} images: expected at least {least} of each class, found {listed}{advice}")
