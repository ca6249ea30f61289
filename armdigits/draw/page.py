"""The page to draw on: one HTML file that runs the int8 program, with the C source inside as WebAssembly.

It needs no network and no other file. draw.js is the page; the scripts in the folder recipe prepare a picture as
armdigits/pictures does.
"""

import base64
from pathlib import Path
from types import ModuleType
from typing import Any

from armdigits.core import files, paths, records
from armdigits.csource import toolchain
from armdigits.pictures import confidence, decode, digit, ink, normalise
from armdigits.report.templates import package_files, template

DRAW = Path("report/draw.html")
RECIPE = {  # each has a twin in the folder recipe
    "decode": decode,
    "ink": ink,
    "digit": digit,
    "normalise": normalise,
    "confidence": confidence,
}
STYLES = ("report/page.css", "draw/draw.css")
SCRIPTS = ("draw/recipe/grid.js", *(f"draw/recipe/{name}.js" for name in RECIPE), "draw/draw.js")


def render() -> str:
    """The page of the program in models/c, from draw.html, its styles and its scripts.

    Raises:
        BadInput: a stage's output is missing or broken.
        Failure: there is no compiler, or it fails.
    """
    quantize = records.read(paths.QUANTIZE_METRICS, records.QuantizeMetrics, "quantize")
    record = records.read(paths.PROGRAM_RECORD, records.Programs, "quantize")
    source = {path.name: files.read_utf8(path, "export") for path in (paths.C_HEADER, paths.C_SOURCE)}
    program = toolchain.compile_target(source, toolchain.TARGETS["wasm32"])
    classes = record.classes
    digits = digit.are_digits(classes)
    return template("draw/draw.html").render(
        style=package_files(*STYLES),
        script=package_files(*SCRIPTS),
        title="Draw a digit" if digits else f"Draw one of {len(classes)} classes",
        noun="digit" if digits else "sign",
        dataset=records.read(paths.EXPORT_DETAILS, records.ExportDetails, "export").dataset,
        accuracy=f"{quantize.int8.accuracy:.2%}".replace("%", " %"),
        weights=record.weights_sha256,
        program=base64.b64encode(program).decode(),
        program_bytes=len(program),
        settings={
            "classes": classes,
            "single": digits,
            "numbers": {name: _numbers(module) for name, module in RECIPE.items()},
        },
    )


def _numbers(module: ModuleType) -> dict[str, Any]:
    """The numbers of a part of the recipe by their names: its twin in JavaScript takes them from here."""
    return {name: value for name, value in vars(module).items() if name.isupper() and _is_numeric(value)}


def _is_numeric(value: object) -> bool:
    return all(map(_is_numeric, value)) if isinstance(value, tuple) else isinstance(value, int | float)
