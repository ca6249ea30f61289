"""Set params.yaml to a data set: its name, the path of your files, and the values that must fit its size.

mnist and digits need no path; with one, the pictures in that folder are added to their training images. Everything
else in params.yaml stays as it is, comments included. Your images are read, and only those count that can be used.
After pictures have come or gone, run the command again. A folder's pictures are read as signs on a background, as
MNIST's digits were (--ink), or as photos (--photo); when that changes, so does the recipe of the training.

examples:
  armdigits dataset digits               scikit-learn's digits, which need no network
  armdigits dataset folder letters       your pictures: letters/a/1.png, letters/a/2.jpg, letters/b/1.png, ...
  armdigits dataset folder ants --photo --colour --size 96    whole photos, as colour images of 96x96 pixels
  armdigits dataset idx fashion          four files in MNIST's format: Fashion-MNIST, KMNIST, EMNIST, ...
  armdigits dataset mnist mine           MNIST, and your pictures of digits: mine/7/1.png, ...
"""

import argparse
import io
import re

from ruamel.yaml import YAML

from armdigits.core import files, paths
from armdigits.core.errors import BadInput, printable
from armdigits.core.parameters import Dataset, check_sizes, load_parameters, parse_parameters
from armdigits.core.shape import MNIST, check_shape
from armdigits.data import registry
from armdigits.data.folder import left_out_lines


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("name", metavar="NAME", help=", ".join(registry.REGISTRY))
    parser.add_argument("path", metavar="PATH", nargs="?", help="the folder of your files")
    folder = parser.add_argument_group("of a folder; where none is given, they stay as they are, or become MNIST's")
    readings = folder.add_mutually_exclusive_group()
    for reading, help_text in (("ink", "a sign on a background"), ("photo", "the whole picture")):
        readings.add_argument(f"--{reading}", dest="reading", action="store_const", const=reading, help=help_text)
    folder.add_argument("--colour", "--color", action="store_true", help="images in colour, with --photo; else grey")
    folder.add_argument("--size", metavar="SIZE", help="of an image in pixels, as 96 or 96x128 (height x width)")


def run(options: argparse.Namespace) -> None:
    """Change params.yaml and print the changes."""
    changes, left_out = select(options.name, options.path, options.reading, options.colour, options.size)
    for line in [*left_out_lines(left_out), *(changes or [f"params.yaml: {options.name} is selected already"])]:
        print(line)
    if changes and "evaluate" not in registry.entry(options.name).presets:
        print("The gates evaluate.min_accuracy and quantize.max_accuracy_drop are low; raise them after a run.")


def select(
    name: str, path: str | None = None, reading: str | None = None, colour: bool = False, size: str | None = None
) -> tuple[list[str], tuple[str, ...]]:
    """Change params.yaml.

    Args:
        name, path: of the data set.
        reading, colour, size: see `images_of`.

    Returns:
        A line for each value that changed, as `dataset.name: mnist -> digits`, and one for each picture left out.

    Raises:
        BadInput: there is no such data set, its files cannot be used, or other values in params.yaml do not fit; the
            file is unchanged.
    """
    before = load_parameters(paths.PARAMETERS)  # refuses a broken file before it is rewritten
    dataset = {"name": name, "path": path, **images_of(before.dataset, name, path, reading, colour, size)}
    survey, left_out = registry.survey_usable(before.dataset.model_copy(update=dataset))
    presets = registry.presets(name, survey)
    recipe = registry.RECIPES[str(dataset["reading"])] if dataset["reading"] != before.dataset.reading else {}
    values = {section: {**recipe.get(section, {}), **presets.get(section, {})} for section in {**presets, **recipe}}
    values["dataset"] = {**dataset, **presets["dataset"]}
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    content = yaml.load(paths.PARAMETERS.read_text("utf-8"))
    changes = [
        f"{section}.{key}: {_text(content[section][key])} -> {_text(value)}"
        for section, keys in values.items()
        for key, value in keys.items()
        if content[section][key] != value
    ]
    for section, keys in values.items():
        content[section].update(keys)
    text = io.StringIO()
    yaml.dump(content, text)
    changed = parse_parameters(text.getvalue().encode(), paths.PARAMETERS)
    check_sizes(changed, len(survey.classes), survey.train_images, survey.added)
    files.write_bytes(paths.PARAMETERS, text.getvalue().encode())
    return changes, left_out


def images_of(
    before: Dataset, name: str, path: str | None, reading: str | None, colour: bool, size: str | None
) -> dict[str, object]:
    """The keys of params.yaml that say what an image is: reading, channels, height and width.

    Raises:
        BadInput: an option does not fit the data set, or is no size.
    """
    if name != "folder":
        if reading or colour or size:
            raise BadInput(
                "--ink, --photo, --colour and --size are for a folder; other data sets have their own images"
            )
        channels, height, width = registry.shape_of_files(before.model_copy(update={"name": name, "path": path}))
        return {"reading": "photo" if channels == 3 else "ink", "channels": channels, "height": height, "width": width}
    if not (reading or colour or size):
        if before.name == "folder":
            return before.model_dump(include={"reading", "channels", "height", "width"})
        return {"reading": "ink", "channels": 1, "height": MNIST[1], "width": MNIST[2]}
    if colour and reading != "photo":
        raise BadInput("--colour: images in colour are photos; add --photo")
    match = re.fullmatch(r"(\d{1,3})(?:x(\d{1,3}))?", size or str(MNIST[1]))
    if not match:
        raise BadInput(f"--size: expected pixels, as 96 or 96x128 (height x width), got {size}")
    height, width = int(match[1]), int(match[2] or match[1])
    try:
        check_shape((1, height, width))
    except ValueError as error:
        raise BadInput(f"--size: {error}") from None
    return {"reading": reading or "ink", "channels": 3 if colour else 1, "height": height, "width": width}


def _text(value: object) -> str:
    return "null" if value is None else printable(str(value))
