"""Where the images come from: MNIST's mirrors, or the digits that scikit-learn includes."""

import gzip
import hashlib
import logging
import math
import os
import re
import ssl
import tempfile
import time
import zlib
from pathlib import Path
from types import ModuleType
from typing import NoReturn
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import numpy as np
import requests
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from armdigits.core import files
from armdigits.core.errors import BadInput, Failure
from armdigits.data.dataset import Split
from armdigits.data.images import split_off
from armdigits.data.survey import check_regular

ATTEMPTS = 3  # per file and mirror; permanent errors (no such file, wrong content) are not retried
TIMEOUT_S = 15  # without a byte
TRANSFER_S = 600  # for a file, all attempts together: a mirror may also send a byte every ten seconds
MAX_REDIRECTS = 10
CHUNK_BYTES = 1 << 16

# Shape and SHA-256 of the published arrays, uint8, without the header of the IDX file.
ARRAYS = {
    "train-images-idx3-ubyte.gz": (
        [60_000, 28, 28],
        "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    ),
    "train-labels-idx1-ubyte.gz": (
        [60_000],
        "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    ),
    "t10k-images-idx3-ubyte.gz": (
        [10_000, 28, 28],
        "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    ),
    "t10k-labels-idx1-ubyte.gz": (
        [10_000],
        "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
    ),
}
SIZES = {  # bytes of the published files
    "train-images-idx3-ubyte.gz": 9_912_422,
    "train-labels-idx1-ubyte.gz": 28_881,
    "t10k-images-idx3-ubyte.gz": 1_648_877,
    "t10k-labels-idx1-ubyte.gz": 4_542,
}
TEST_DIGITS = 360  # images of scikit-learn's that are set aside for the test, a fifth
# SHA-256 of its 1,797 images and labels: uint8 [1797, 8, 8], [1797].
DIGITS_SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


class NoMirror(Failure):
    """No public mirror could deliver a file, and `DATA_MIRROR` names no other one."""


def mnist(downloads: Path) -> tuple[Split, Split, dict[str, str]]:
    """The 60,000 training and the 10,000 test images of MNIST, verified against the published checksums.

    Args:
        downloads: folder of verified downloads; a valid file there is not downloaded again.

    Returns:
        Training images, test images, and the MD5 of each published file.

    Raises:
        NoMirror: no public mirror could deliver a file.
        Failure: `DATA_MIRROR` could not deliver a file.
        BadInput: `DATA_MIRROR` is wrong, or a mirror delivered a file whose content is wrong.
    """
    published = dict(_torchvision().MNIST.resources)  # file name -> MD5
    mirror = os.environ.get("DATA_MIRROR", "")
    check_mirror(mirror, list(published))
    for name, md5 in published.items():
        fetch(name, md5, downloads, mirror)
    train_images, train_labels, test_images, test_labels = (read_array(downloads / name) for name in published)
    return Split(train_images[:, None], train_labels), Split(test_images[:, None], test_labels), published


def digits(seed: int) -> tuple[Split, Split, dict[str, str]]:
    """The digits that scikit-learn includes, in MNIST's format. They need no network.

    They are 8x8 images of the UCI data set "Optical Recognition of Handwritten Digits" with 17 grey levels, enlarged
    (bicubic) to the 20x20 box of MNIST's digits, with MNIST's margin of 4 pixels around it.

    Returns:
        1,437 training images, 360 test images (stratified by class), and the SHA-256 of scikit-learn's arrays.

    Raises:
        BadInput: scikit-learn's arrays are not the published ones.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    small, labels = bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)
    found = files.sha256(small.tobytes() + labels.tobytes())
    if found != DIGITS_SHA256:
        raise BadInput(f"scikit-learn's digits: expected SHA-256 {DIGITS_SHA256}, found {found}")
    images = np.zeros((len(small), 28, 28), np.uint8)
    for image, pixels in zip(images, small, strict=True):
        bright = Image.fromarray((pixels * 255.0 / 16).round().astype(np.uint8))
        image[4:24, 4:24] = np.asarray(bright.resize((20, 20), Image.Resampling.BICUBIC))
    everything = Split(torch.from_numpy(images[:, None]), torch.from_numpy(labels))
    train, test = split_off(everything, TEST_DIGITS, seed)
    return train, test, {"sklearn.datasets.load_digits": found}


def check_mirror(mirror: str, names: list[str]) -> None:
    """Check that `DATA_MIRROR`, where it is set, is a URL or a folder with these files.

    Raises:
        BadInput: it is not; there is no other mirror then, as its user wants this one.
    """
    if not mirror or _is_http(mirror):
        return
    if "://" in mirror and not mirror.startswith("file://"):
        raise BadInput(f"DATA_MIRROR: expected a folder, file://, http:// or https://, got {_masked(mirror)}")
    folder = _local(mirror)
    if not folder.is_dir():
        raise BadInput(f"DATA_MIRROR: {folder}: no such folder")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise BadInput(f"DATA_MIRROR: {folder}: has no {', '.join(missing)}")


def _is_http(source: str) -> bool:
    return source.startswith(("http://", "https://"))


def _local(source: str) -> Path:
    """The path that a file URL names, or the path itself."""
    return Path(os.fsdecode(unquote_to_bytes(urlsplit(source).path)) if source.startswith("file://") else source)


def fetch(name: str, md5: str, folder: Path, mirror: str) -> None:
    """Put the file `name` into `folder`, from the first mirror that delivers content with this MD5.

    Args:
        name: of the file.
        md5: of its published content.
        folder: of verified downloads.
        mirror: the only folder or base URL that is tried; where it is empty, torchvision's https mirrors are.

    Raises:
        NoMirror, Failure, BadInput: as `mnist`; one line for each mirror.
    """
    target = folder / name
    if target.is_file() and _md5(_stored(target, SIZES[name])) == md5:
        return
    failures = []
    wrong_content = False
    public = [url for url in _torchvision().MNIST.mirrors if url.startswith("https://")]
    for address in [mirror] if mirror else public:
        try:
            content = _read(f"{address.rstrip('/')}/{name}", SIZES[name])
        except Exception as error:  # requests lets those of other libraries through
            failures.append(f"{_masked(address)}: {_masked(_reason(error))}")
            continue
        found = _md5(content)
        if found == md5:
            files.write_bytes(target, content)
            return
        wrong_content = True
        kind = _kind(content, SIZES[name])
        failures.append(f"{_masked(address)}: {name}: expected MD5 {md5}, found {found} ({kind})")
    if wrong_content:
        raise BadInput(*failures, f"{name}: no mirror has the published file")
    if mirror:
        raise Failure(*failures, "MNIST could not be read from DATA_MIRROR; correct or unset it")
    raise NoMirror(
        *failures,
        "MNIST could not be downloaded. Set DATA_MIRROR to a folder or base URL with the four .gz files, "
        "or use the embedded data set (make digits)",
    )


def _masked(text: str) -> str:
    """The text without the name and the password in a URL, which logs must not show."""
    return re.sub("//.*@", "//***@", text)


def _stored(path: Path, size: int) -> bytes:
    """At most `size` + 1 bytes of a regular file."""
    check_regular(path)
    with path.open("rb") as file:
        return file.read(size + 1)


def _read(source: str, size: int) -> bytes:
    """At most `size` + 1 bytes of a file or URL. Transient errors are retried, in the middle of a download too."""
    if not _is_http(source):
        return _stored(_local(source), size)
    end = time.monotonic() + TRANSFER_S
    for _ in range(ATTEMPTS - 1):
        try:
            return _download(source, size, end)
        except (requests.RequestException, HTTPError) as error:
            response = getattr(error, "response", None)
            if time.monotonic() > end or (response is not None and 400 <= response.status_code < 500):
                raise
    return _download(source, size, end)


def _download(url: str, size: int, end: float) -> bytes:
    """The bytes that are sent, as they are: with `Content-Encoding: gzip`, requests would decompress the .gz file."""
    content = bytearray()
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of headers that it skips
    with _response(url) as response, _bar(url, size) as bar:
        response.raise_for_status()
        while len(content) <= size and (chunk := response.raw.read1(CHUNK_BYTES, decode_content=False)):
            content += chunk
            bar.update(len(chunk))
            if time.monotonic() > end:
                raise requests.Timeout(f"took longer than {TRANSFER_S} s")
    return bytes(content[: size + 1])


def _response(url: str) -> requests.Response:
    """The answer after redirections, whose bodies requests would read to their end, however large."""
    for _ in range(MAX_REDIRECTS):
        headers = {"Accept-Encoding": "identity"}
        response = requests.get(url, stream=True, timeout=TIMEOUT_S, allow_redirects=False, headers=headers)
        if not response.is_redirect:
            return response
        response.close()
        url = urljoin(url, response.headers["location"])
    raise requests.TooManyRedirects(f"more than {MAX_REDIRECTS} redirections")


def _bar(url: str, size: int) -> "tqdm[NoReturn]":
    return tqdm(total=size, desc=url.rpartition("/")[2], unit="B", unit_scale=True, disable=None, leave=False)


def _reason(error: BaseException) -> str:
    """The innermost cause in one line: libraries wrap `Name or service not known` four times."""
    where = "proxy: " if isinstance(error, requests.exceptions.ProxyError) else ""
    while True:
        wrapped = (getattr(error, "reason", None), getattr(error, "original_error", None), error.__context__)
        causes = [each for each in wrapped if isinstance(each, BaseException)]
        if not causes:
            break
        error = causes[0]
    text = (getattr(error, "strerror", None) or str(error) or type(error).__name__).splitlines()[0][:200]
    if isinstance(error, ssl.SSLCertVerificationError):
        text = f"{error.verify_message}; set REQUESTS_CA_BUNDLE to the file with your network's certificates"
    return where + text


def _kind(content: bytes, size: int) -> str:
    if content[:256].lstrip().lower().startswith((b"<!doctype", b"<html")):
        return "an HTML page instead of a gzip file"
    if content.startswith(files.LFS_POINTER):
        return files.LFS_REMEDY
    return f"{len(content)} bytes" if len(content) <= size else f"more than {size} bytes"


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def read_array(path: Path) -> Tensor:
    """Decompress one of MNIST's IDX files; returns its uint8 array, [N, 28, 28] or [N].

    Raises:
        BadInput: the file does not hold the published array.
    """
    shape, sha256 = ARRAYS[path.name]
    with tempfile.NamedTemporaryFile() as idx:  # torchvision reads from a path only
        try:
            with gzip.open(path) as file:
                content = file.read(4 + 4 * len(shape) + math.prod(shape) + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise BadInput(f"{path}: not a gzip-compressed IDX file ({error})") from None
        idx.write(content)
        idx.flush()
        try:
            array: Tensor = _torchvision().read_sn3_pascalvincent_tensor(idx.name)
        except Exception as error:  # it checks little before it computes
            raise BadInput(f"{path}: not a gzip-compressed IDX file ({error})") from None
    if list(array.shape) != shape:
        raise BadInput(f"{path}: expected an array {shape}, found {list(array.shape)}")
    found = files.sha256(array.numpy().tobytes())
    if found != sha256:
        raise BadInput(f"{path}: expected an array of SHA-256 {sha256}, found {found}")
    return array


def _torchvision() -> ModuleType:
    """The module of torchvision's MNIST. Its import takes seconds, which the digits do without."""
    from armdigits.data.torchvision_import import mnist as module

    loaded: ModuleType = module
    return loaded
