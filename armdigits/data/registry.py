"""The data sets that `dataset.name` in params.yaml can name.

An entry has all that the project knows of one; docs/your-own.md adds another. The libraries that read images take
seconds to import, and `preflight` needs none of them, so they are imported where a data set is loaded.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.core.parameters import Dataset
from armdigits.core.shape import Shape
from armdigits.data import folder, idx
from armdigits.data.survey import Survey, checksums, digest, folder_of, hold, name_of

if TYPE_CHECKING:
    from armdigits.data.images import Images

Result = TypeVar("Result")
Values = Mapping[str, Mapping[str, Any]]  # of params.yaml: section -> key -> value
DIGITS = tuple("0123456789")


class DataSet(NamedTuple):
    """A data set.

    Attributes:
        load: reads it; raises BadInput where it cannot be used.
        survey: what is known of it before an image is read; raises BadInput too.
        needs_path: whether `dataset.path` is its folder. Where not, a path is a folder of pictures that are added to
            its training images.
        is_fixed: whether the checksums of its files are recorded at the first run, and checked from then on.
        presets: values of params.yaml for it, in the place of those that follow from its size.
    """

    load: Callable[[Dataset], "Images"]
    survey: Callable[[Dataset], Survey]
    needs_path: bool = False
    is_fixed: bool = False
    presets: Values = {}  # noqa: RUF012 - nothing changes it


def _mnist(_dataset: Dataset) -> "Images":
    from armdigits.data import images, sources

    return images.Images(*sources.mnist(paths.DOWNLOADS), DIGITS)


def _digits(settings: Dataset) -> "Images":
    from armdigits.data import images, sources

    return images.Images(*sources.digits(settings.seed), DIGITS)


REGISTRY = {
    "mnist": DataSet(
        _mnist,
        lambda _: Survey(DIGITS, train_images=60_000, test_images=10_000),
        presets={
            "dataset": {"validation": 5000},
            "evaluate": {"min_accuracy": 0.985},
            "quantize": {"max_accuracy_drop": 0.002},
        },
    ),
    "digits": DataSet(  # one test image is 0.28 % of the accuracy
        _digits,
        lambda _: Survey(DIGITS, train_images=1_437, test_images=360),
        presets={
            "dataset": {"validation": 200},
            "evaluate": {"min_accuracy": 0.93},
            "quantize": {"calibration_samples": 1000, "max_accuracy_drop": 0.02},
        },
    ),
    "idx": DataSet(idx.load, idx.survey, needs_path=True, is_fixed=True),
    "folder": DataSet(folder.load, folder.survey, needs_path=True),
}


# What else changes with the reading: a perceptron taught by a small convolutional network suits signs, the
# convolutional network itself suits photos, which also stay what they are in a mirror.
RECIPES: dict[str, Values] = {
    "ink": {
        "model": {"name": "mlp"},
        "augmentation": {"rotation": 10.0, "shear": 0.1, "flip": 0.0},
        "train": {
            "epochs": 10,
            "learning_rate": 0.003,
            "centre": True,
            "first_layer_scale": 2.0,
            "teacher_weight": 0.7,
            "temperature": 3.0,
            "threads": 1,
        },
    },
    "photo": {
        "model": {"name": "cnn"},
        "augmentation": {"rotation": 5.0, "shear": 0.05, "flip": 0.5},
        "train": {
            "epochs": 20,
            "learning_rate": 0.003,
            "centre": False,
            "first_layer_scale": 1.0,
            "teacher_weight": 0.0,
            "temperature": 1.0,
            "threads": 2,
        },
    },
}


def entry(name: str) -> DataSet:
    """The data set of this name; raises BadInput where there is none."""
    if name not in REGISTRY:
        raise BadInput(f"{paths.PARAMETERS}: dataset.name: expected one of {', '.join(REGISTRY)}, got {name!r}")
    return REGISTRY[name]


def survey(dataset: Dataset) -> Survey:
    """What is known of the data set, and of the pictures that are added to it, before an image is read.

    Raises:
        BadInput: the name or the path is wrong, or the files cannot be used.
    """
    found = _call(entry(dataset.name).survey, dataset)
    if found.shape != dataset.shape:
        expected, got = list(found.shape), list(dataset.shape)
        line = (
            f"{paths.PARAMETERS}: dataset.channels, height, width: expected {expected}, as the images have, got {got}"
        )
        raise BadInput(f"{line}; run: armdigits dataset {dataset.name} {dataset.path or ''}".rstrip())
    if entry(dataset.name).needs_path or dataset.path is None:
        return found
    added = folder.survey_added(dataset, found.classes)
    return found._replace(files=added, added=len(added))


def shape_of_files(dataset: Dataset) -> Shape:
    """The shape of the images, which the files of some data sets have; raises BadInput as `survey`."""
    return _call(entry(dataset.name).survey, dataset).shape


def survey_usable(dataset: Dataset) -> tuple[Survey, tuple[str, ...]]:
    """The same after the user's own images are read, so that only those count that can be used.

    Returns:
        The survey, and a line for each picture that is left out.

    Raises:
        BadInput: as `survey`, or the images cannot be used.
    """
    surveyed = survey(dataset)
    if dataset.path is None:
        return surveyed, ()
    if not entry(dataset.name).needs_path:
        added, _, left_out = folder.load_added(dataset, surveyed.classes)
        return surveyed._replace(added=len(added)), left_out
    images = load(dataset)
    largest = max(Counter(images.test.labels.tolist()).values())
    return (
        Survey(images.classes, len(images.train), len(images.test), shape=images.train.shape, largest_class=largest),
        images.left_out,
    )


def load(dataset: Dataset) -> "Images":
    """Read the data set, and the pictures that are added to it.

    Raises:
        BadInput: as `survey`, or the images cannot be used.
        Failure: they cannot be downloaded.
    """
    images = _call(entry(dataset.name).load, dataset)
    if other := [split.shape for split in (images.train, images.test) if split.shape != dataset.shape]:
        raise BadInput(f"{dataset.name}: expected images {list(dataset.shape)}, got {list(other[0])}")
    if entry(dataset.name).needs_path or dataset.path is None:
        return images
    added, source, left_out = folder.load_added(dataset, images.classes)
    return images._replace(added=added, source={**images.source, **source}, left_out=left_out)


def _call(function: Callable[[Dataset], Result], dataset: Dataset) -> Result:
    """Arrays of another type or shape raise ValueErrors in NumPy, torch and `Split`."""
    try:
        return function(dataset)
    except ValueError as error:
        raise BadInput(f"{dataset.name}: {str(error).splitlines()[0]}") from None


def record(dataset: Dataset, surveyed: Survey) -> dict[str, str]:
    """The digest of the user's files, which changes when one of them does; empty where there are none.

    Raises:
        BadInput: the files are not those of the first run, and the data set is a fixed one.
    """
    found = checksums(surveyed.files)
    hold(found if entry(dataset.name).is_fixed else {})
    return {"dataset.path": digest(folder_of(dataset), found)} if found else {}


def presets(name: str, surveyed: Survey) -> Values:
    """The values of params.yaml that go with a data set: those of its entry, or else those that fit its size.

    An epoch has at least eight steps, because a model learns little in fewer. At most half of the training images
    calibrate, so that some can be removed later without an error. Where nothing is known of the accuracy, the gates
    let pass what is above chance and above the share of the largest class, and a loss of five test images.
    """
    classes, total = len(surveyed.classes), surveyed.train_images
    validation = min(5000, -(-total // 7))
    left = total - validation + surveyed.added
    largest = 2 ** max(1, int(math.log2(max(left, 1) / 8)))  # a power of two, as usual
    chance = max(1 / classes, surveyed.largest_class / max(1, surveyed.test_images))
    fitted: dict[str, dict[str, Any]] = {
        "dataset": {"validation": validation},
        "teach": {"batch_size": min(128, largest)},
        "train": {"batch_size": min(32, largest)},
        "evaluate": {"min_accuracy": min(1.0, math.floor(1000 * chance + 1) / 1000)},
        "quantize": {
            "calibration_samples": min(1024, -(-left // 2)),
            "max_accuracy_drop": min(1.0, max(0.02, round(5 / max(1, surveyed.test_images), 3))),
        },
    }
    own = entry(name).presets
    return {section: {**values, **own.get(section, {})} for section, values in fitted.items()}


def full_name(dataset: Dataset) -> str:
    """The name in metrics and reports, with that of the user's folder: `folder letters`, `mnist + mine`."""
    if dataset.path is None:
        return dataset.name
    separator = " " if entry(dataset.name).needs_path else " + "
    return f"{dataset.name}{separator}{name_of(folder_of(dataset).resolve())}"
