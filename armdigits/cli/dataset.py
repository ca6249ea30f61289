"""Set params.yaml to one of the two data sets: its name, and the values that must fit its size.

Everything else in the file stays as it is, comments included.
"""

import argparse
import io
from typing import Any

from ruamel.yaml import YAML

from armdigits.core import files, paths
from armdigits.core.parameters import load_parameters

# digits has 1,437 training and 360 test images: one test image is 0.28 % of its accuracy.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "mnist": {
        "dataset": {"name": "mnist", "validation": 5000},
        "evaluate": {"min_accuracy": 0.985},
        "quantize": {"calibration_samples": 1024, "max_accuracy_drop": 0.002},
    },
    "digits": {
        "dataset": {"name": "digits", "validation": 200},
        "evaluate": {"min_accuracy": 0.93},
        "quantize": {"calibration_samples": 1000, "max_accuracy_drop": 0.02},
    },
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("name", choices=PRESETS, help="the data set")


def run(options: argparse.Namespace) -> None:
    """Change params.yaml and print the changes."""
    print("\n".join(select(options.name)) or f"params.yaml: {options.name} is selected already")


def select(name: str) -> list[str]:
    """Change params.yaml.

    Returns:
        A line for each value that changed, as `dataset.name: mnist -> digits`.
    """
    load_parameters(paths.PARAMETERS)  # refuses a broken file before it is rewritten
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    content = yaml.load(paths.PARAMETERS.read_text())
    changes = []
    for section, values in PRESETS[name].items():
        for key, value in values.items():
            before = content[section][key]
            if before != value:
                content[section][key] = value
                changes.append(f"{section}.{key}: {before} -> {value}")
    text = io.StringIO()
    yaml.dump(content, text)
    files.write_bytes(paths.PARAMETERS, text.getvalue().encode())
    return changes
