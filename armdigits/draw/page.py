"""The page to draw on: one HTML file that runs the int8 program, with the C source inside as WebAssembly.

It needs no network and no other file. draw.js is the page; the scripts in the folder recipe prepare a picture as
armdigits/pictures does.
"""

import base64
from pathlib import Path
from types import ModuleType

from armdigits.core import files, paths, records
from armdigits.core.errors import BadInput
from armdigits.csource import toolchain
from armdigits.pictures import confidence, decode, digit, ink, normalise
from armdigits.report.templates import package_files, template

DRAW = Path("report/draw.html")
RECIPE = ("decode", "ink", "digit", "normalise", "confidence")  # scripts with a twin in armdigits/pictures
STYLES = ("report/page.css", "draw/draw.css")
SCRIPTS = ("draw/recipe/grid.js", *(f"draw/recipe/{name}.js" for name in RECIPE), "draw/draw.js")


def render() -> str:
    """The page of the program in models/c, from draw.html, its styles and its scripts.

    Raises:
        BadInput: a stage's output is missing or broken, or the program is for photos or for images that are not square.
        Failure: there is no compiler, or it fails.
    """
    quantize = records.read(paths.QUANTIZE_METRICS, records.QuantizeMetrics, "quantize")
    record = records.read(paths.PROGRAM_RECORD, records.Programs, "quantize")
    if not record.can_be_drawn():
        raise BadInput(f"the page is for square images of ink, not for {record.reading} {list(record.shape)}")
    side = record.shape[1]
    source = {path.name: files.read_utf8(path, "export") for path in (paths.C_HEADER, paths.C_SOURCE)}
    program = toolchain.compile_target(source, toolchain.TARGETS["wasm32"])
    classes = record.classes
    digits = digit.are_digits(classes)
    return template("draw/draw.html").render(
        style=package_files(*STYLES),
        script=package_files(*SCRIPTS),
        side=side,
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
            "numbers": numbers(side),
        },
    )


def numbers(side: int) -> dict[str, dict[str, object]]:
    """The numbers of each part of the recipe for images of `side` pixels: its twin in JavaScript takes them."""
    box, fine, thin, thick = normalise.sizes(side, side)

    def named(module: ModuleType, names: str) -> dict[str, object]:
        return {name: getattr(module, name) for name in names.split()}

    return {
        "decode": named(decode, "WORKING_SIDE MAX_PIXELS"),
        "ink": named(ink, "BACKGROUND_BAND FITTED MIN_CONTRAST FAINTEST MIN_SIGNAL SOLID THICK NARROW"),
        "digit": named(digit, "STROKE SPECK DIGIT SPAN NEAR HUG TOUCH CLEAR ALIKE GAP_ABOVE GAP_BESIDE FAINT"),
        "normalise": {
            "BOX": box,
            "FIELD": side,
            "FINE": fine,
            "THIN": thin,
            "THICK": thick,
            **named(normalise, "EDGE SMALL"),
        },
        "confidence": named(confidence, "UNSURE SHIFTS"),
    }
