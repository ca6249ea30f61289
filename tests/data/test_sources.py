"""The data sources. Downloads come from a real HTTP server on loopback, and are real MNIST where it is available."""

import gzip
import hashlib
import os
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from armdigits.core.errors import BadInput, Failure
from armdigits.core.files import LFS_POINTER
from armdigits.data import sources
from tests.helpers import MIRROR, needs_mnist

NAMES = list(sources.ARRAYS)


def test_digits_have_mnists_margin_and_the_published_checksum() -> None:
    train, test, source = sources.digits(seed=1)
    assert (len(train), len(test)) == (1437, 360)
    assert train.images[:, :, 4:24, 4:24].max() == 255
    assert train.images[:, :, :4].max() == 0, "the margin is background"
    assert source == {"sklearn.datasets.load_digits": sources.DIGITS_SHA256}


def test_digits_are_split_by_class_and_by_seed() -> None:
    _, test, _ = sources.digits(seed=1)
    _, same, _ = sources.digits(seed=1)
    _, other, _ = sources.digits(seed=2)
    assert torch.bincount(test.labels).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]
    assert torch.equal(test.images, same.images)
    assert not torch.equal(test.images, other.images)


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder. `faults` has a kind of fault and a number of requests for some paths."""

    def __init__(self, *arguments: Any, faults: dict[str, tuple[str, int]], **keywords: Any) -> None:
        self.faults = faults
        super().__init__(*arguments, **keywords)

    def do_GET(self) -> None:
        kind, left = self.faults.get(self.path, ("", 0))
        if left:
            self.faults[self.path] = (kind, left - 1)
        if left and kind == "busy":
            self.send_error(503)
        elif left and kind == "gone":
            self.send_error(404, "x" * 10_000)
        elif left and kind == "no header":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nno header\r\n\r\n")
        elif left and kind == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            self.wfile.write(b"half")
        elif left and kind == "drip":
            self.send_response(200)
            self.end_headers()
            for _ in range(100):
                self.wfile.write(b"x")
                time.sleep(0.1)
        elif left and kind == "endless":
            self.send_response(200)
            self.end_headers()
            while True:
                self.wfile.write(bytes(1 << 16))
        elif left and kind == "moved":
            self.send_response(302)
            self.send_header("Location", self.path)
            self.end_headers()
            self.wfile.write(b"see there")
        else:
            super().do_GET()

    def end_headers(self) -> None:
        if "encoded" in self.faults:
            self.send_header("Content-Encoding", "gzip")
        super().end_headers()

    def log_message(self, *_arguments: Any) -> None:
        pass


class Mirror(NamedTuple):
    """The folder that a mirror serves, and its faults."""

    folder: Path
    faults: dict[str, tuple[str, int]]


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A mirror on loopback, which DATA_MIRROR names."""
    mirror = Mirror(tmp_path / "mirror", {})
    mirror.folder.mkdir()
    handler = partial(Handler, directory=str(mirror.folder), faults=mirror.faults)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("DATA_MIRROR", f"http://127.0.0.1:{http.server_port}")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield mirror
        http.shutdown()


def put_small(folder: Path) -> bytes:
    """Put a small file there under the name of MNIST's test labels."""
    content = gzip.compress(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    (folder / NAMES[3]).write_bytes(content)
    return content


def fetch(tmp_path: Path, content: bytes) -> bytes:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    sources.fetch(NAMES[3], md5, tmp_path / "downloads", os.environ["DATA_MIRROR"])
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == [NAMES[3]]
    return (tmp_path / "downloads" / NAMES[3]).read_bytes()


@pytest.mark.parametrize("kind", ["busy", "cut"])
def test_a_download_that_fails_twice_is_tried_a_third_time(mirror: Mirror, tmp_path: Path, kind: str) -> None:
    content = put_small(mirror.folder)
    mirror.faults[f"/{NAMES[3]}"] = (kind, 2)
    assert fetch(tmp_path, content) == content


def test_a_redirection_is_followed(mirror: Mirror, tmp_path: Path) -> None:
    content = put_small(mirror.folder)
    mirror.faults[f"/{NAMES[3]}"] = ("moved", 2)
    assert fetch(tmp_path, content) == content


def test_a_gz_file_that_is_sent_as_compressed_text_is_not_decompressed(mirror: Mirror, tmp_path: Path) -> None:
    content = put_small(mirror.folder)
    mirror.faults["encoded"] = ("", 0)
    assert fetch(tmp_path, content) == content


def test_of_a_body_without_end_no_more_than_the_published_size_is_read(mirror: Mirror, tmp_path: Path) -> None:
    mirror.faults[f"/{NAMES[3]}"] = ("endless", 1)
    with pytest.raises(BadInput, match=r"found [0-9a-f]{32} \(more than 4542 bytes\)"):
        fetch(tmp_path, b"")


def test_a_transfer_that_never_ends_is_given_up(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "TRANSFER_S", 0.5)
    mirror.faults[f"/{NAMES[3]}"] = ("drip", 1)
    with pytest.raises(Failure, match="took longer than 0.5 s"):
        fetch(tmp_path, b"")


@pytest.mark.parametrize("kind", ["gone", "busy", "moved", ""])
def test_a_password_in_the_url_is_not_printed(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    put_small(mirror.folder)
    mirror.faults[f"/{NAMES[3]}"] = (kind, 99)
    monkeypatch.setenv("DATA_MIRROR", os.environ["DATA_MIRROR"].replace("//", "//someone:secret@"))
    with pytest.raises(Failure) as caught:
        fetch(tmp_path, b"")
    assert "secret" not in str(caught.value)
    assert str(caught.value).startswith("http://***@127.0.0.1:")


@pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificate")
def test_a_certificate_that_is_not_trusted_names_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(["openssl", "req", *options], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as https:
        https.socket = context.wrap_socket(https.socket, server_side=True)
        threading.Thread(target=https.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        monkeypatch.setenv("DATA_MIRROR", f"https://127.0.0.1:{https.server_port}")
        with pytest.raises(Failure, match="self-signed certificate; set REQUESTS_CA_BUNDLE to the file with your"):
            fetch(tmp_path, b"")
        https.shutdown()


def test_a_file_that_a_mirror_does_not_have_is_requested_once(mirror: Mirror, tmp_path: Path) -> None:
    mirror.faults[f"/{NAMES[3]}"] = ("gone", 99)
    with pytest.raises(Failure, match="404") as caught:
        fetch(tmp_path, b"")
    assert mirror.faults[f"/{NAMES[3]}"] == ("gone", 98)
    assert len(str(caught.value)) < 500, "whatever the server says"


def test_headers_that_are_none_are_skipped_without_a_warning(mirror: Mirror, tmp_path: Path, caplog: Any) -> None:
    mirror.faults[f"/{NAMES[3]}"] = ("no header", 1)
    with pytest.raises(BadInput, match="no mirror has the published file"):
        fetch(tmp_path, b"x")
    assert not caplog.records


def test_a_mirror_of_the_user_that_fails_is_named_with_its_reason_and_no_other_is_asked(
    mirror: Mirror, tmp_path: Path
) -> None:
    content = put_small(mirror.folder)
    mirror.faults[f"/{NAMES[3]}"] = ("busy", 99)
    with pytest.raises(Failure) as caught:
        fetch(tmp_path, content)
    assert not isinstance(caught.value, sources.NoMirror), "so that make repro does not fall back to the digits"
    reason, advice = str(caught.value).splitlines()
    assert reason.startswith("http://127.0.0.1:")
    assert "503" in reason
    assert advice == "MNIST could not be read from DATA_MIRROR; correct or unset it"
    assert not list((tmp_path / "downloads").glob("*"))


def test_when_all_public_mirrors_fail_each_is_named_with_its_reason_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATA_MIRROR", "")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    addresses = ["http://127.0.0.1:1/", "https://127.0.0.1:1/", "https://127.0.0.1:2/"]
    monkeypatch.setattr("torchvision.datasets.mnist.MNIST.mirrors", addresses)
    with pytest.raises(sources.NoMirror) as caught:
        fetch(tmp_path, b"")
    first, second, advice = str(caught.value).splitlines()
    assert first == "https://127.0.0.1:1/: Connection refused"
    assert second == "https://127.0.0.1:2/: Connection refused"
    assert "Set DATA_MIRROR" in advice
    assert "make digits" in advice


@pytest.mark.parametrize(
    ("mirror", "line"),
    [
        ("gone", "DATA_MIRROR: gone: no such folder"),
        ("file:///gone/%20%25x", "DATA_MIRROR: /gone/ %x: no such folder"),
        (".", f"DATA_MIRROR: .: has no {', '.join(NAMES)}"),
        ("ftp://host/mnist", "DATA_MIRROR: expected a folder, file://, http:// or https://, got ftp://host/mnist"),
        (
            "ftp://me:secret@host/mnist",
            "DATA_MIRROR: expected a folder, file://, http:// or https://, got ftp://***@host/mnist",
        ),
        ("htps://host/mnist", "DATA_MIRROR: expected a folder, file://, http:// or https://, got htps://host/mnist"),
    ],
)
def test_a_data_mirror_that_is_wrong_is_refused_in_one_line_before_anything_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch, mirror: str, line: str
) -> None:
    monkeypatch.setenv("DATA_MIRROR", mirror)
    with pytest.raises(BadInput) as caught:
        sources.mnist(folder / "downloads")
    assert str(caught.value) == line


@pytest.mark.parametrize("url", [False, True], ids=["path", "file URL"])
def test_a_file_is_read_from_a_folder_with_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: bool) -> None:
    folder = tmp_path / "it's ü 100%"
    folder.mkdir()
    content = put_small(folder)
    monkeypatch.setenv("DATA_MIRROR", folder.as_uri() if url else str(folder))
    assert fetch(tmp_path, content) == content


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (b"<!DOCTYPE html><p>Please log in", "an HTML page instead of a gzip file"),
        (gzip.compress(b"something else"), "bytes)"),
        (b"<html>" + bytes(9000), "an HTML page instead of a gzip file"),
        (LFS_POINTER + b"v1", "a Git LFS pointer, not the file itself; run: git lfs pull"),
        (b"", "(0 bytes)"),
    ],
    ids=["page", "archive", "long page", "LFS", "nothing"],
)
def test_a_file_with_another_md5_is_refused_with_both_checksums(
    mirror: Mirror, tmp_path: Path, found: bytes, words: str
) -> None:
    content = put_small(mirror.folder)
    (mirror.folder / NAMES[3]).write_bytes(found)
    with pytest.raises(BadInput) as caught:
        fetch(tmp_path, content)
    line = str(caught.value).splitlines()[0]
    assert f"{NAMES[3]}: expected MD5 " in line
    assert ", found " in line
    assert words in line
    assert not list((tmp_path / "downloads").glob("*"))


def test_a_valid_download_is_not_repeated(mirror: Mirror, tmp_path: Path) -> None:
    content = put_small(mirror.folder)
    fetch(tmp_path, content)
    (mirror.folder / NAMES[3]).unlink()
    assert fetch(tmp_path, content) == content


def test_a_damaged_download_is_repeated(mirror: Mirror, tmp_path: Path) -> None:
    content = put_small(mirror.folder)
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
        (gzip.compress(bytes([9, 9, 9, 9, 0, 0, 0, 3])), "not a gzip-compressed IDX file"),
        (gzip.compress(bytes([0, 0, 8, 1, 0, 0, 39, 16, *[3] * 10000])), "expected an array of SHA-256"),
    ],
    ids=["text", "cut", "short", "count", "shape", "magic", "values"],
)
def test_an_array_other_than_the_published_one_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / NAMES[3]).write_bytes(content)
    with pytest.raises(BadInput, match=message):
        sources.read_array(tmp_path / NAMES[3])


@needs_mnist
def test_mnist_is_read_from_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_MIRROR", str(MIRROR))
    train, test, source = sources.mnist(tmp_path / "downloads")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert set(source) == set(NAMES)


@needs_mnist
def test_mnist_is_downloaded_over_http_and_a_swapped_file_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    for name in NAMES:
        shutil.copy(MIRROR / name, mirror.folder / name)
    train, _, _ = sources.mnist(tmp_path / "downloads")
    assert train.labels[:5].tolist() == [5, 0, 4, 1, 9]
    shutil.copy(MIRROR / NAMES[1], mirror.folder / NAMES[3])
    with pytest.raises(BadInput, match=f"{NAMES[3]}: expected MD5"):
        sources.mnist(tmp_path / "others")
