"""The data sources. The downloads run against a real HTTP server on loopback, with real MNIST where it is at hand."""

import gzip
import hashlib
import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from armdigits import sources
from armdigits.errors import BadInput
from tests.conftest import some_images

NAMES = [f"{name}.gz" for name in sources.SHAPES]
MNIST = Path(os.environ.get("DATA_MIRROR", "")).absolute()
needs_mnist = pytest.mark.skipif(
    "DATA_MIRROR" not in os.environ or not MNIST.is_dir(),
    reason="DATA_MIRROR names no folder with the four files of MNIST",
)


def test_digits_are_images_of_the_published_set():
    train, test, source = sources.digits(seed=1)
    assert (len(train), len(test)) == (1437, 360)
    assert train.images[:, 4:24, 4:24].max() == 255
    assert train.images[:, :4].max() == 0, "the margin is paper"
    assert source == {"sklearn.datasets.load_digits": sources.DIGITS_SHA256}


def test_digits_are_split_by_class_and_by_seed():
    _, test, _ = sources.digits(seed=1)
    _, same, _ = sources.digits(seed=1)
    _, other, _ = sources.digits(seed=2)
    assert torch.bincount(test.labels).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    assert torch.equal(test.images, same.images)
    assert not torch.equal(test.images, other.images)


def test_no_image_is_in_two_parts():
    whole = some_images(100)
    rest, part = sources.split_off(whole, 20, seed=3)
    together = torch.cat([rest.images, part.images]).flatten(1).unique(dim=0)
    assert len(rest) == 80
    assert torch.equal(together, whole.images.flatten(1).unique(dim=0))
    assert torch.bincount(part.labels).tolist() == [2] * 10


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; files named in `faults` get a fault first, for as many requests as it says."""

    def __init__(self, *arguments, faults: dict, **keywords):
        self.faults = faults
        super().__init__(*arguments, **keywords)

    def do_GET(self):
        kind, left = self.faults.get(self.path, (None, 0))
        if left:
            self.faults[self.path] = (kind, left - 1)
        if left and kind == "busy":
            self.send_error(503)
        elif left and kind == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"half")
        else:
            super().do_GET()

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A mirror on loopback that serves the folder `mirror`; the public mirrors are out of reach."""
    (tmp_path / "mirror").mkdir()
    faults: dict = {}
    handler = partial(Handler, directory=str(tmp_path / "mirror"), faults=faults)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.faults, http.folder = faults, tmp_path / "mirror"
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("DATA_MIRROR", f"http://127.0.0.1:{http.server_port}")
        monkeypatch.setattr(sources.torchvision_mnist.MNIST, "mirrors", ["https://127.0.0.1:1/"])
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield http
        http.shutdown()


def put_small(folder: Path) -> bytes:
    """Put one file there that is published as if it were MNIST's test labels."""
    content = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    (folder / NAMES[3]).write_bytes(content)
    return content


def fetch(tmp_path: Path, content: bytes) -> bytes:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    sources._fetch(NAMES[3], md5, tmp_path / "downloads")
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == [NAMES[3]], "nothing else is left"
    return (tmp_path / "downloads" / NAMES[3]).read_bytes()


@pytest.mark.parametrize("kind", ["busy", "cut"])
def test_a_server_that_falters_twice_is_asked_a_third_time(server, tmp_path, kind):
    content = put_small(server.folder)
    server.faults[f"/{NAMES[3]}"] = (kind, 2)
    assert fetch(tmp_path, content) == content


def test_a_server_that_stays_broken_is_named_with_the_others_and_the_ways_out(server, tmp_path):
    content = put_small(server.folder)
    server.faults[f"/{NAMES[3]}"] = ("busy", 99)
    with pytest.raises(sources.NoMirror) as caught:
        fetch(tmp_path, content)
    first, second, ways = str(caught.value).splitlines()
    assert first.startswith("http://127.0.0.1:")
    assert "503" in first
    assert second == "https://127.0.0.1:1/: Connection refused"
    assert "DATA_MIRROR=" in ways
    assert "make digits" in ways
    assert not list((tmp_path / "downloads").glob("*")), "nothing is left of it"


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (b"<!DOCTYPE html><p>Please log in", "an HTML page instead of a gzip file"),
        (gzip.compress(b"something else"), "bytes)"),
        (b"", "(0 bytes)"),
    ],
    ids=["page", "archive", "nothing"],
)
def test_other_bytes_are_refused_with_file_and_both_checksums(server, tmp_path, found, words):
    content = put_small(server.folder)
    (server.folder / NAMES[3]).write_bytes(found)
    with pytest.raises(BadInput) as caught:
        fetch(tmp_path, content)
    line = str(caught.value).splitlines()[0]
    assert f"{NAMES[3]}: expected MD5 " in line
    assert ", found " in line
    assert words in line
    assert not list((tmp_path / "downloads").glob("*")), "nothing is left of it"


def test_a_right_download_is_not_fetched_again(server, tmp_path):
    content = put_small(server.folder)
    fetch(tmp_path, content)
    (server.folder / NAMES[3]).unlink()
    assert fetch(tmp_path, content) == content


def test_a_damaged_download_is_fetched_again(server, tmp_path):
    content = put_small(server.folder)
    fetch(tmp_path, content)
    (tmp_path / "downloads" / NAMES[3]).write_bytes(content[:-1])
    assert fetch(tmp_path, content) == content


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no gzip", "not a gzip-compressed IDX file"),
        (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))[:-9], "not a gzip-compressed IDX file"),
        (gzip.compress(b"ab"), "not a gzip-compressed IDX file"),
        (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 9, 7, 2, 1])), "not a gzip-compressed IDX file"),
        (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1])), r"expected an array \[10000\], found \[3\]"),
        (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 39, 16, *[3] * 10000])), "expected an array of SHA-256"),
    ],
    ids=["text", "cut", "short", "count", "shape", "values"],
)
def test_an_array_that_is_not_the_published_one_is_refused(tmp_path, content, message):
    (tmp_path / NAMES[3]).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        sources._array(tmp_path / NAMES[3])


@needs_mnist
def test_mnist_comes_whole_from_a_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", str(MNIST))
    train, test, source = sources.mnist(tmp_path / "downloads")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert set(source) == set(NAMES)


@needs_mnist
def test_mnist_comes_whole_over_http_and_swapped_files_are_refused(server, tmp_path):
    for name in NAMES:
        shutil.copy(MNIST / name, server.folder / name)
    train, _, _ = sources.mnist(tmp_path / "downloads")
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    shutil.copy(MNIST / NAMES[1], server.folder / NAMES[3])
    with pytest.raises(BadInput, match=f"{NAMES[3]}: expected MD5"):
        sources.mnist(tmp_path / "others")
