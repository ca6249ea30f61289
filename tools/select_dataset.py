"""Set params.yaml to one of the two data sets: its name, and the values that must fit its size.

    python -m tools.select_dataset mnist|digits        (make mnist, make digits)

Everything else in the file stays as it is, comments included.
"""

import io
import sys

from ruamel.yaml import YAML

from armdigits import files, paths
from armdigits.errors import BadInput, reported
from armdigits.parameters import load_parameters

# digits has 1,437 training and 360 test images: one test image is 0.28 % of its accuracy.
PRESETS = {
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


def select(name: str) -> list[str]:
    """Change params.yaml; returns a line for each value that changed, as `dataset.name: mnist -> digits`."""
    load_parameters(paths.PARAMETERS)
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


if __name__ == "__main__":
    with reported("select_dataset"):
        if sys.argv[1:] not in (["mnist"], ["digits"]):
            raise BadInput("expected one argument: mnist or digits")
        print("\n".join(select(sys.argv[1])) or f"params.yaml: {sys.argv[1]} already")
