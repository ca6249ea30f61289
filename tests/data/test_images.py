"""Training, validation and test images of a data set."""

import pytest
import torch

from armdigits.core.errors import BadInput
from armdigits.data.dataset import Split
from armdigits.data.images import Images, parts_of, split_off
from tests.helpers import some_images


def labelled(*labels: int) -> Split:
    return Split(some_images(len(labels)).images, torch.tensor(labels, dtype=torch.uint8))


def test_split_off_stratifies_and_puts_each_image_into_one_part() -> None:
    split = some_images(100)
    rest, part = split_off(split, 20, seed=3)
    together = torch.cat([rest.images, part.images]).flatten(1).unique(dim=0)
    assert len(rest) == 80
    assert torch.equal(together, split.images.flatten(1).unique(dim=0))
    assert torch.bincount(part.labels).tolist() == [2] * 10


def test_added_images_are_training_images_and_the_others_stay_where_they_are() -> None:
    images = Images(some_images(100), some_images(30, 2), {}, tuple("0123456789"))
    alone = parts_of(images, 20, seed=1)
    together = parts_of(images._replace(added=labelled(7, 7, 7)), 20, seed=1)
    assert torch.equal(alone["validation"].images, together["validation"].images)
    assert torch.equal(alone["test"].images, together["test"].images)
    assert torch.equal(alone["train"].images, together["train"].images[:80])
    assert together["train"].labels[80:].tolist() == [7, 7, 7]


@pytest.mark.parametrize(
    ("train", "test", "validation", "line"),
    [
        ([0] * 9 + [1], [0, 1], 2, "training images: expected at least 2 of each class, found 1 of b"),
        ([0] * 9 + [1] * 9, [0, 0], 2, "test images: expected at least 1 of each class, found 0 of b"),
        ([0] * 98 + [1] * 2, [0, 1], 2, "validation images: expected at least 1 of each class, found 0 of b; change "
         "dataset.validation"),
        ([0] * 98 + [1] * 2, [0, 1], 98, "training images: expected at least 1 of each class, found 0 of b"),
        ([0, 0, 1, 1], [0, 2], 2, "test images: labels up to 2, but 2 classes"),
    ],
)  # fmt: skip
def test_a_class_without_an_image_in_a_part_is_refused(
    train: list[int], test: list[int], validation: int, line: str
) -> None:
    with pytest.raises(BadInput) as caught:
        parts_of(Images(labelled(*train), labelled(*test), {}, ("a", "b")), validation, seed=1)
    assert str(caught.value) == line
