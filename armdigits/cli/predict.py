"""Read the digits in pictures: the class, and the three most likely classes with their probabilities.

Pictures can have any size and any format that Pillow reads, with one digit each, dark on light or light on dark. If a
picture cannot be read, a line gives the reason, the others are still read, and the exit code is 2. Run it from the
project folder, after `make repro` or `dvc pull`.

examples:
  armdigits predict photo.jpg scan.png           photo.jpg: 7  (7 99.2 %, 2 0.5 %, 3 0.1 %)
  armdigits predict --json *.png                 one JSON object per line, with all probabilities
  cat photo.jpg | armdigits predict -            a picture from standard input
  armdigits predict --program fp32 photo.jpg     the fp32 program instead of the int8 one
  armdigits predict --program c photo.jpg        the int8 program in C: the same answer, without loading PyTorch
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from armdigits.core import files, paths
from armdigits.core.errors import BadInput

PROGRAMS = {"int8": paths.INT8_PROGRAM, "fp32": paths.FP32_PROGRAM, "c": paths.C_SOURCE}
MAX_BYTES = 200_000_000  # of a picture file
Reader = Callable[[bytes], list[float]]  # the bytes of a picture file -> the probability of each class


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a picture; - is standard input")
    parser.add_argument("--program", choices=PROGRAMS, default="int8", help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="JSON objects, errors included, all on standard output")


def run(options: argparse.Namespace) -> int:
    """Print a line for each file; returns the exit code."""
    failed = False
    reader = digit_reader(options.program)
    classes = files.read_json(paths.PROGRAM_RECORD, "quantize")["classes"]
    for answer in answers(reader, classes, options.files):
        failed |= "error" in answer
        if options.json:
            print(json.dumps(answer), flush=True)
        else:
            print(line(answer, classes), file=sys.stderr if "error" in answer else sys.stdout, flush=True)
    return BadInput.exit_code if failed else 0


def digit_reader(name: str) -> Reader:
    """Load the program `name` of `PROGRAMS`.

    Returns:
        A function from the bytes of a picture file to the softmax of the program's logits, one probability per class.
        It raises BadInput when the file is not a picture or shows no digit.

    Raises:
        BadInput: the program is missing, or is not the one that `quantize` recorded.
    """
    if name == "c":
        return _c_reader()
    import torch  # takes seconds, and neither --help nor the C source needs it

    from armdigits.data.dataset import pixels_of
    from armdigits.data.preprocessing import mnist_image
    from armdigits.program.runtime import read_program, use_threads

    use_threads(1)
    program = read_program(PROGRAMS[name])

    def read(content: bytes) -> list[float]:
        pixels = pixels_of(torch.from_numpy(mnist_image(content))[None])
        probabilities: list[float] = program(pixels).double().softmax(1)[0].tolist()
        return probabilities

    return read


def _c_reader() -> Reader:
    """`digit_reader` for the C source, without torch."""
    import numpy as np

    from armdigits.data.preprocessing import mnist_image
    from armdigits.program.c_runtime import read_c_program

    program = read_c_program()

    def read(content: bytes) -> list[float]:
        logits = program(mnist_image(content)[None])[0].astype(np.float64)
        shares = np.exp(logits - logits.max())
        probabilities: list[float] = (shares / shares.sum()).tolist()
        return probabilities

    return read


def answers(reader: Reader, classes: list[str], names: list[str]) -> Iterator[dict[str, Any]]:
    """For each file its label, the name of its class, and the probability of each class, or the error."""
    for name in names:
        try:
            probabilities = reader(file_content(name))
        except BadInput as problem:
            yield {"file": name, "error": str(problem)}
        else:
            label = max(range(len(probabilities)), key=probabilities.__getitem__)
            yield {"file": name, "label": label, "class": classes[label], "probabilities": probabilities}


def file_content(name: str) -> bytes:
    """The bytes of a file, or of standard input for `-`.

    Raises:
        BadInput: it cannot be read, or is too large to be a picture.
    """
    try:
        if name == "-":
            content = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with Path(name).open("rb") as file:
                content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(error.strerror or str(error)) from None
    if len(content) > MAX_BYTES:
        raise BadInput(f"larger than {MAX_BYTES // 1_000_000} MB")
    return content


def line(answer: dict[str, Any], classes: list[str]) -> str:
    """An answer as text: the class, and the three most likely ones."""
    if "error" in answer:
        return f"{answer['file']}: {answer['error']}"
    likely = sorted(zip(classes, answer["probabilities"], strict=True), key=lambda pair: -pair[1])[:3]
    shares = ", ".join(f"{name} {share * 100:.1f} %" for name, share in likely)
    return f"{answer['file']}: {answer['class']}  ({shares})"
