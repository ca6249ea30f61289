"""Set params.yaml to a data set: its name, the path of your files, and the values that must fit its size.

mnist and digits need no path; with one, the pictures in that folder are added to their training images. Everything
else in params.yaml stays as it is, comments included. Your images are read, and only those count that can be used.
After pictures have come or gone, run the command again.

examples:
  armdigits dataset digits               scikit-learn's digits, which need no network
  armdigits dataset folder letters       your pictures: letters/a/1.png, letters/a/2.jpg, letters/b/1.png, ...
  armdigits dataset idx fashion          four files in MNIST's format: Fashion-MNIST, KMNIST, EMNIST, ...
  armdigits dataset mnist mine           MNIST, and your pictures of digits: mine/7/1.png, ...
"""

import argparse
import io

from ruamel.yaml import YAML

from armdigits.core import files, paths
from armdigits.core.errors import printable
from armdigits.core.parameters import check_sizes, load_parameters, parse_parameters
from armdigits.data import registry
from armdigits.data.folder import left_out_lines


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("name", metavar="NAME", help=", ".join(registry.REGISTRY))
    parser.add_argument("path", metavar="PATH", nargs="?", help="the folder of your files")


def run(options: argparse.Namespace) -> None:
    """Change params.yaml and print the changes."""
    changes, left_out = select(options.name, options.path)
    for line in [*left_out_lines(left_out), *(changes or [f"params.yaml: {options.name} is selected already"])]:
        print(line)
    if changes and "evaluate" not in registry.entry(options.name).presets:
        print("The gates evaluate.min_accuracy and quantize.max_accuracy_drop are low; raise them after a run.")


def select(name: str, path: str | None = None) -> tuple[list[str], tuple[str, ...]]:
    """Change params.yaml.

    Returns:
        A line for each value that changed, as `dataset.name: mnist -> digits`, and one for each picture left out.

    Raises:
        BadInput: there is no such data set, its files cannot be used, or other values in params.yaml do not fit; the
            file is unchanged.
    """
    before = load_parameters(paths.PARAMETERS)  # refuses a broken file before it is rewritten
    survey, left_out = registry.survey_usable(before.dataset.model_copy(update={"name": name, "path": path}))
    presets = registry.presets(name, survey)
    values = {**presets, "dataset": {"name": name, "path": path, **presets["dataset"]}}
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


def _text(value: object) -> str:
    return "null" if value is None else printable(str(value))
