"""How well pictures are read: labelled folders of pictures, MNIST's test images as PNG, and pictures of no digit.

    python -m benchmarks.pictures [FOLDER ...] [--mnist COUNT] [--program c]

A folder has labels.csv with the columns path, label and kind. For each kind: how many pictures there are, how many are
read rightly, how many answers are unsure, how many of the others are right; then each mistake. MNIST's images are
written dark on light and light on dark; `none` are pictures of no digit: letters in the fonts of Matplotlib,
parts of scikit-learn's photos, and smoothed noise, of which the more the better are unsure or refused. The last line
is JSON. Run it after `dvc repro export`.
"""

import argparse
import csv
import io
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from sklearn.datasets import load_sample_images

from armdigits.cli.predict import PROGRAMS, Reader, picture_reader
from armdigits.core import paths, records
from armdigits.core.errors import BadInput, exit_on_failure
from armdigits.data.dataset import read_split
from armdigits.pictures.confidence import UNSURE

THRESHOLDS = (0.5, 0.8, 0.9, 0.95, 0.99)
LETTERS = "ABCDEFGHJKLMNPQRTUVWXYabdefhknrtwy?&%#@"
PHOTOS, NOISE = 80, 60
Picture = tuple[str, int | None, bytes]  # its name, label (None: no digit) and file


def folder_pictures(folder: Path) -> Iterator[tuple[str, Picture]]:
    """The kind and the picture of each line of labels.csv.

    Raises:
        BadInput: there is no such file, or it has other columns.
    """
    try:
        with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                yield row["kind"], (row["path"], int(row["label"]), (folder / row["path"]).read_bytes())
    except (OSError, KeyError, ValueError) as error:
        raise BadInput(f"{folder}: expected labels.csv with path, label, kind and the pictures ({error})") from None


def mnist_pictures(count: int) -> Iterator[tuple[str, Picture]]:
    """The first test images as PNG, in both polarities."""
    test = read_split(paths.TEST_DATA)
    for number, (image, label) in enumerate(zip(test.images[:count, 0].numpy(), test.labels.tolist(), strict=False)):
        yield "MNIST, light on dark", (f"test image {number}", label, png(image))
        yield "MNIST, dark on light", (f"test image {number}", label, png(255 - image))


def no_digits() -> Iterator[tuple[str, Picture]]:
    """Letters, parts of photos, and noise, made with a fixed seed."""
    choice = np.random.default_rng(0)
    fonts = [f"{matplotlib.get_data_path()}/fonts/ttf/DejaVu{name}.ttf" for name in ("Sans", "Serif", "SansMono")]
    for letter in LETTERS:
        field = Image.new("L", (120, 120), 255)
        ImageDraw.Draw(field).text((25, 10), letter, 0, ImageFont.truetype(str(choice.choice(fonts)), 80))
        yield "none: letters", (letter, None, png(np.asarray(field)))
    photos = [np.asarray(Image.fromarray(photo).convert("L")) for photo in load_sample_images().images]
    for number in range(PHOTOS):
        photo, side = photos[number % len(photos)], int(choice.integers(60, 400))
        top, left = (int(choice.integers(size - side)) for size in photo.shape)
        yield "none: photos", (f"photo {number}", None, png(photo[top : top + side, left : left + side]))
    for number in range(NOISE):
        blur = choice.uniform(3, 10)  # pixels
        frequencies = np.fft.fftfreq(100)[:, None] ** 2 + np.fft.fftfreq(100) ** 2
        spectrum = np.fft.fft2(choice.normal(size=(100, 100))) * np.exp(-frequencies * 9 * blur**2)
        values = np.real(np.fft.ifft2(spectrum))
        yield "none: noise", (f"noise {number}", None, png((values - values.min()) / np.ptp(values) * 255))


def png(values: NDArray[Any]) -> bytes:
    """A PNG of grey levels [height, width]."""
    buffer = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(buffer, "png")
    return buffer.getvalue()


def read(reader: Reader, picture: Picture) -> tuple[int | None, float, str]:
    """The label that is read, the confidence, and the error of a refused picture, which has no label."""
    try:
        reading = reader(picture[2])
    except BadInput as problem:
        return None, 0.0, str(problem)
    return int(np.argmax(reading.probabilities)), reading.confidence, ""


def score(reader: Reader, pictures: Iterator[tuple[str, Picture]]) -> tuple[dict[str, Any], list[str]]:
    """The figures of each kind, and a line for each mistake."""
    answers: dict[str, list[tuple[bool, float]]] = defaultdict(list)
    mistakes = []
    for kind, picture in pictures:
        label, confidence, error = read(reader, picture)
        answers[kind].append((label == picture[1] and label is not None, confidence))
        if picture[1] is not None and label != picture[1]:
            mistakes.append(f"{kind}: {picture[0]} is {picture[1]}: {error or f'{label}, confidence {confidence:.3f}'}")
    return {kind: figures(found) for kind, found in answers.items()}, mistakes


def figures(found: list[tuple[bool, float]]) -> dict[str, Any]:
    """Counts of a kind of pictures; those at other thresholds show why `UNSURE` is what it is."""
    right, confidence = np.array([row[0] for row in found]), np.array([row[1] for row in found])
    thresholds = {
        str(value): {"sure": int((confidence >= value).sum()), "right": int(right[confidence >= value].sum())}
        for value in sorted({*THRESHOLDS, UNSURE})
    }
    return {"pictures": len(found), "right": int(right.sum()), "thresholds": thresholds}


def table(results: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{'kind':<24}{'pictures':>9}{'right':>9}{'unsure':>9}   right of the sure ones"]
    for kind, row in results.items():
        sure = row["thresholds"][str(UNSURE)]
        share = f"{sure['right']} of {sure['sure']}"
        right = "-" if kind.startswith("none") else f"{row['right'] / row['pictures']:.2%}"
        unsure = f"{1 - sure['sure'] / row['pictures']:.1%}"
        lines.append(f"{kind:<24}{row['pictures']:>9}{right:>9}{unsure:>9}   {'' if right == '-' else share}".rstrip())
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--mnist", type=int, default=1000, metavar="COUNT", help="test images (default: %(default)s)")
    parser.add_argument("--program", choices=PROGRAMS, default="c", help="default: %(default)s")
    options = parser.parse_args()
    with exit_on_failure("benchmarks.pictures"):
        record = records.read(paths.PROGRAM_RECORD, records.Programs, "quantize")
        reader = picture_reader(options.program, record)
        results: dict[str, Any] = {}
        sources = [*(folder_pictures(folder) for folder in options.folders), mnist_pictures(options.mnist), no_digits()]
        for source in sources:
            found, mistakes = score(reader, source)
            results |= found
            print("\n".join([table(found), *mistakes, ""]), flush=True)
        print(json.dumps(results))


if __name__ == "__main__":
    main()
