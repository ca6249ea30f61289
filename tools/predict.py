"""Read digits in pictures: the label, and how sure the program is.

    python -m tools.predict photo.jpg scan.png        prints `photo.jpg: 7  (7 99.2 %, 2 0.5 %, 3 0.1 %)`
    python -m tools.predict --json *.png              one line of JSON a file, with all ten probabilities
    cat photo.jpg | python -m tools.predict -         a picture from standard input
    python -m tools.predict --program fp32 photo.jpg  the fp32 program instead of the int8 one

Any format and size, dark ink on light paper or the other way round; one digit a picture. A picture that cannot be
read gets a line that says why, the others are answered all the same, and the exit code is then 2. Run it from the
project's folder, after the pipeline or `dvc pull`.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from armdigits import files, paths
from armdigits.errors import BadInput, reported
from armdigits.preprocessing import mnist_image
from armdigits.runtime import Program, read_program, use_threads

PROGRAMS = {"int8": paths.INT8_PROGRAM, "fp32": paths.FP32_PROGRAM}
MAX_BYTES = 200_000_000  # of a picture file


def load(name: str) -> Program:
    """The program of that name, checked against the record that `quantize` wrote."""
    use_threads(1)
    record = files.read_json(paths.PROGRAMS, "quantize")
    return read_program(PROGRAMS[name], str(record.get("weights_sha256")))


def read(name: str) -> bytes:
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


def predict(program: Program, content: bytes) -> list[float]:
    """The probability of each digit for the picture in a file: the softmax of the program's logits.

    Raises:
        BadInput: it is no picture, or shows no digit.
    """
    image = torch.from_numpy(mnist_image(content))
    pixels = image.float().div(255).reshape(1, 1, *image.shape)
    return program(pixels).double().softmax(1)[0].tolist()


def answers(program: Program, names: list[str]) -> Iterator[dict]:
    """For each file its label and probabilities, or the error."""
    for name in names:
        try:
            probabilities = predict(program, read(name))
        except BadInput as problem:
            yield {"file": name, "error": str(problem)}
        else:
            label = max(range(len(probabilities)), key=probabilities.__getitem__)
            yield {"file": name, "label": label, "probabilities": probabilities}


def line(answer: dict) -> str:
    """An answer for people: the label, and the three most likely digits."""
    if "error" in answer:
        return f"{answer['file']}: {answer['error']}"
    likely = sorted(enumerate(answer["probabilities"]), key=lambda pair: -pair[1])[:3]
    shares = ", ".join(f"{digit} {share * 100:.1f} %" for digit, share in likely)
    return f"{answer['file']}: {answer['label']}  ({shares})"


def main(arguments: list[str]) -> int:
    """Answer every file; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="a picture; - is standard input")
    parser.add_argument("--program", choices=PROGRAMS, default="int8")
    parser.add_argument("--json", action="store_true", help="a JSON object a line, errors too, all on standard output")
    options = parser.parse_args(arguments)
    failed = False
    for answer in answers(load(options.program), options.files):
        failed |= "error" in answer
        if options.json:
            print(json.dumps(answer), flush=True)
        else:
            print(line(answer), file=sys.stderr if "error" in answer else sys.stdout, flush=True)
    return BadInput.exit_code if failed else 0


if __name__ == "__main__":
    with reported("predict"):
        sys.exit(main(sys.argv[1:]))
