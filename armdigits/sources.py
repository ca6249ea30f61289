"""Where the images come from: MNIST's mirrors, or the digits that scikit-learn ships."""

import gzip
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import requests
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from tqdm import tqdm

from armdigits import files
from armdigits.dataset import Split
from armdigits.errors import BadInput, Failure
from armdigits.parameters import TEST_IMAGES
from armdigits.torchvision_import import mnist as torchvision_mnist

ATTEMPTS = 3  # tries a file and mirror; what fails for good (no such file, wrong bytes) is tried once
TIMEOUT_S = 15  # without a byte
CHUNK_BYTES = 1 << 16

# SHA-256 of the pixels and labels alone, without the IDX header: uint8 [60000, 28, 28], [60000], ...
ARRAYS_SHA256 = {
    "train-images-idx3-ubyte": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "train-labels-idx1-ubyte": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "t10k-images-idx3-ubyte": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "t10k-labels-idx1-ubyte": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
SHAPES = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
# SHA-256 of scikit-learn's 1,797 images and labels: uint8 [1797, 8, 8], [1797]
DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


class NoMirror(Failure):
    """No mirror gave a file."""


def mirrors() -> list[str]:
    """Directories and base URLs to try, in this order: `DATA_MIRROR`, then torchvision's public https mirrors."""
    own = os.environ.get("DATA_MIRROR")
    public = [url for url in torchvision_mnist.MNIST.mirrors if url.startswith("https://")]
    return [own, *public] if own else public


def mnist(downloads: Path) -> tuple[Split, Split, dict[str, str]]:
    """The 60,000 training and the 10,000 test images of MNIST, proven to be the published ones.

    Args:
        downloads: folder of verified downloads; what is there and right is not fetched again.

    Returns:
        Training images, test images, and the MD5 of each published file.

    Raises:
        NoMirror: a file could not be had anywhere.
        BadInput: a file could be had, and is not what it must be.
    """
    published = dict(torchvision_mnist.MNIST.resources)  # file name -> MD5
    for name, md5 in published.items():
        _fetch(name, md5, downloads)
    train_images, train_labels, test_images, test_labels = (_array(downloads / name) for name in published)
    return Split(train_images, train_labels), Split(test_images, test_labels), published


def digits(seed: int) -> tuple[Split, Split, dict[str, str]]:
    """The digits that scikit-learn ships, in MNIST's format: no network is needed.

    They are 8x8 images of the UCI "Optical Recognition of Handwritten Digits" set with 17 grey levels. Here they
    are enlarged to MNIST's 20x20 box (bicubic) with MNIST's margin of 4 around it.

    Returns:
        1,437 training images, 360 test images (stratified), and the SHA-256 of the embedded arrays.
    """
    bunch = load_digits()
    small, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    found = files.sha256(small.tobytes() + labels.tobytes())
    if found != DIGITS_SHA256:
        raise BadInput(f"scikit-learn's digits: expected SHA-256 {DIGITS_SHA256}, found {found}")
    images = np.zeros((len(small), 28, 28), np.uint8)
    for image, pixels in zip(images, small, strict=True):
        bright = Image.fromarray((pixels * 255.0 / 16).round().astype(np.uint8))
        image[4:24, 4:24] = np.asarray(bright.resize((20, 20), Image.Resampling.BICUBIC))
    everything = Split(torch.from_numpy(images), torch.from_numpy(labels))
    train, test = split_off(everything, TEST_IMAGES["digits"], seed)
    return train, test, {"sklearn.datasets.load_digits": found}


def split_off(split: Split, count: int, seed: int) -> tuple[Split, Split]:
    """Split `count` images off, each class in its share. Both parts keep the order of the original.

    Returns:
        The rest, and the `count` images.
    """
    rest, part = train_test_split(
        np.arange(len(split)), test_size=count, random_state=seed, stratify=split.labels.numpy()
    )
    rest, part = np.sort(rest), np.sort(part)
    return Split(split.images[rest], split.labels[rest]), Split(split.images[part], split.labels[part])


def _fetch(name: str, md5: str, folder: Path) -> None:
    """Bring the file `name` into `folder`, from the first mirror that has the right bytes."""
    target = folder / name
    if target.is_file() and _md5(target.read_bytes()) == md5:
        return
    failures = []
    wrong_bytes = False
    for mirror in mirrors():
        try:
            content = _read(f"{mirror.rstrip('/')}/{name}")
        except (requests.RequestException, OSError) as error:
            failures.append(f"{mirror}: {_reason(error)}")
            continue
        found = _md5(content)
        if found == md5:
            files.write_bytes(target, content)  # outside the `try`: a full disk is not the mirror's fault
            return
        wrong_bytes = True
        failures.append(f"{mirror}: {name}: expected MD5 {md5}, found {found}{_looks_like(content)}")
    if wrong_bytes:
        raise BadInput(*failures, f"{name}: no mirror has the published bytes")
    raise NoMirror(
        *failures,
        "MNIST cannot be had. Ways out: DATA_MIRROR=<folder or base URL with the four .gz files>, or the embedded "
        "data set (make digits)",
    )


def _read(source: str, attempts: int = ATTEMPTS) -> bytes:
    """The bytes of a file or a URL; a faltering server is tried again."""
    if not source.startswith(("http://", "https://")):
        return Path(source).read_bytes()
    try:
        with requests.get(source, stream=True, timeout=TIMEOUT_S) as response:
            response.raise_for_status()
            total = int(response.headers.get("Content-Length", 0))
            return b"".join(_progress(response.iter_content(CHUNK_BYTES), source.rpartition("/")[2], total))
    except requests.RequestException as error:
        status = error.response.status_code if error.response is not None else 0
        if attempts == 1 or 400 <= status < 500:
            raise
    return _read(source, attempts - 1)


def _progress(chunks: Iterator[bytes], name: str, total: int) -> Iterator[bytes]:
    with tqdm(total=total or None, desc=name, unit="B", unit_scale=True, disable=None, leave=False) as bar:
        for chunk in chunks:
            bar.update(len(chunk))
            yield chunk


def _reason(error: Exception) -> str:
    """The innermost cause in one line: libraries wrap `Name or service not known` four times."""
    while error.__context__ is not None or isinstance(getattr(error, "reason", None), Exception):
        error = getattr(error, "reason", None) or error.__context__
    return (getattr(error, "strerror", None) or str(error)).splitlines()[0]


def _looks_like(content: bytes) -> str:
    if content[:256].lstrip().lower().startswith((b"<!doctype", b"<html")):
        return " (an HTML page instead of a gzip file)"
    return f" ({len(content)} bytes)"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _array(path: Path) -> Tensor:
    """Decompress an IDX file and prove that it holds the published array."""
    name = path.name.removesuffix(".gz")
    with tempfile.NamedTemporaryFile() as raw:  # torchvision reads a file, and nothing else
        try:
            raw.write(gzip.decompress(path.read_bytes()))
            raw.flush()
            array = torchvision_mnist.read_sn3_pascalvincent_tensor(raw.name)
        except (gzip.BadGzipFile, EOFError, zlib.error, AssertionError, RuntimeError, ValueError) as error:
            raise BadInput(f"{path}: not a gzip-compressed IDX file ({error})") from None
    if tuple(array.shape) != SHAPES[name]:
        raise BadInput(f"{path}: expected an array {list(SHAPES[name])}, found {list(array.shape)}")
    found = files.sha256(array.numpy().tobytes())
    if found != ARRAYS_SHA256[name]:
        raise BadInput(f"{path}: expected an array of SHA-256 {ARRAYS_SHA256[name]}, found {found}")
    return array
