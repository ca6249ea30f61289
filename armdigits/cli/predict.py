"""Read the digits in pictures: the class, and the three most likely classes with their probabilities.

Pictures can have any size. They are AVIF, BMP, GIF, HEIC, JPEG, PNG, PPM, TIFF or WebP files with one digit each, dark
on light or light on dark. An answer that may well be wrong is marked: `7?  unsure`. If a picture cannot be read, or
shows several digits, a line gives the reason, the others are still read, and the exit code is 2. Run it from the
project folder, after `make repro` or `dvc pull`. docs/pictures.md says what is done to a picture.

examples:
  armdigits predict photo.jpg scan.png           photo.jpg: 7  (7 99.2 %, 2 0.5 %, 3 0.1 %)
  armdigits predict --json *.png                 one JSON object per line, with all probabilities
  armdigits predict --show photo.jpg             writes seen.png: the picture beside what the program saw
  cat photo.jpg | armdigits predict -            a picture from standard input
  armdigits predict --program fp32 photo.jpg     the fp32 program instead of the int8 one
  armdigits predict --program c photo.jpg        the int8 program in C: the same answer, without loading PyTorch
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from armdigits.core import files, lock, paths, records
from armdigits.core.errors import BadInput, Failure, printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Program = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

PROGRAMS = {"int8": paths.INT8_PROGRAM, "fp32": paths.FP32_PROGRAM, "c": paths.C_SOURCE}
SEEN = Path("seen.png")
MAX_BYTES = 200_000_000  # of a picture file


class Reading(NamedTuple):
    """What a program reads in a picture.

    Attributes:
        image: that it saw, uint8 [C, H, W].
        probabilities: of each class.
        confidence: of the answer, from 0 to 1; see armdigits/pictures/confidence.py.
    """

    image: "NDArray[np.uint8]"
    probabilities: list[float]
    confidence: float


Reader = Callable[[bytes], Reading]  # from the bytes of a picture file


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a picture; - is standard input")
    parser.add_argument("--program", choices=PROGRAMS, default="int8", help="default: %(default)s")
    parser.add_argument("--show", action="store_true", help=f"write {SEEN}: each picture beside what the program saw")
    parser.add_argument("--json", action="store_true", help="JSON objects, errors included, all on standard output")


def run(options: argparse.Namespace) -> int:
    """Print a line for each file; returns the exit code."""
    failed = False
    record = records.read(paths.PROGRAM_RECORD, records.Programs, "quantize")
    classes = record.classes
    reader = picture_reader(options.program, record)
    shown: list[tuple[bytes, Reading, str]] = []
    for answer, seen in answers(reader, classes, options.files):
        failed |= "error" in answer
        text = line(answer, classes)
        if options.json:
            print(json.dumps(answer), flush=True)
        else:
            print(text, file=sys.stderr if "error" in answer else sys.stdout, flush=True)
        if seen and options.show:
            shown.append((*seen, text))
    if shown:
        from armdigits.pictures.sheet import sheet

        files.write_bytes(
            SEEN, sheet([(content, reading.image, text) for content, reading, text in shown], record.reading)
        )
    return BadInput.exit_code if failed else 0


def picture_reader(name: str, record: records.Programs) -> Reader:
    """Load the program `name` of `PROGRAMS`, of which this is the record.

    Returns:
        A function from the bytes of a picture file to what the program reads in it. It raises BadInput when the file
        is not a picture, shows no digit or several, and Failure when the program has another number of classes.

    Raises:
        BadInput: the program is missing, or is not the one that `quantize` recorded.
    """
    from armdigits.pictures.confidence import confidence, shifted, softmax
    from armdigits.pictures.digit import are_digits
    from armdigits.pictures.reading import read_image

    single = are_digits(record.classes)
    lock.require(PROGRAMS[name], "export" if name == "c" else "quantize")
    program = _c_program() if name == "c" else _executorch_program(name)

    def read(content: bytes) -> Reading:
        image = read_image(content, record.reading, record.shape, single)
        probabilities = softmax(program(shifted(image)))
        if (found := probabilities.shape[1]) != len(record.classes):
            raise Failure(f"{PROGRAMS[name]}: expected {len(record.classes)} logits, one for each class, found {found}")
        return Reading(image, probabilities[0].tolist(), confidence(probabilities))

    return read


def _executorch_program(name: str) -> "Program":
    """An ExecuTorch program as a function from images uint8 [N, C, H, W] to logits float32 [N, classes]."""
    import torch  # takes seconds, and neither --help nor the C source needs it

    from armdigits.data.dataset import pixels_of
    from armdigits.program.runtime import read_program, use_threads

    use_threads(1)
    program = read_program(PROGRAMS[name])

    def logits(images: "NDArray[np.uint8]") -> "NDArray[np.float32]":
        return program(pixels_of(torch.from_numpy(images))).numpy()

    return logits


def _c_program() -> "Program":
    """The same from the C source, without torch."""
    from armdigits.csource.binding import read_c_program

    return read_c_program()


def answers(
    reader: Reader, classes: list[str], names: list[str]
) -> Iterator[tuple[dict[str, Any], tuple[bytes, Reading] | None]]:
    """For each file its label, the name of its class and the probability of each class, with content and reading.

    Where a file cannot be read: the error, and None.
    """
    from armdigits.pictures.confidence import UNSURE

    for name in names:
        try:
            content = file_content(name)
            reading = reader(content)
        except BadInput as problem:
            yield {"file": name, "error": str(problem)}, None
        else:
            label = max(range(len(classes)), key=reading.probabilities.__getitem__)
            answer = {
                "file": name,
                "label": label,
                "class": classes[label],
                "unsure": reading.confidence < UNSURE,
                "probabilities": reading.probabilities,
            }
            yield answer, (content, reading)


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
        return printable(f"{answer['file']}: {answer['error']}")
    likely = sorted(zip(classes, answer["probabilities"], strict=True), key=lambda pair: -pair[1])[:3]
    shares = ", ".join(f"{each} {share * 100:.1f} %" for each, share in likely)
    return printable(f"{answer['file']}: {answer['class']}{'?  unsure' if answer['unsure'] else ''}  ({shares})")
