"""The readers of bytes that the project did not write, each with valid inputs, the seeds.

A reader may answer, or raise a Failure. The current folder is that of a small run, see `write_run`, and is its own.
"""

import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from threading import Thread
from types import ModuleType
from typing import Any

import numpy as np
import pillow_heif
import torch
import yaml
from dvc.utils.serialize import parse_yaml
from PIL import Image
from safetensors.torch import load, save

from armdigits.cli import compare, predict, show, sweep, verify
from armdigits.core import files, lock, paths
from armdigits.core.parameters import Dataset, load_parameters, parse_parameters
from armdigits.core.shape import MNIST
from armdigits.data import folder, idx, sources, survey
from armdigits.data.dataset import read_provenance, read_split
from armdigits.models import checkpoint
from armdigits.models.cnn import ConvolutionalNetwork
from armdigits.pictures.reading import read_image
from armdigits.program import build, contents, runtime
from armdigits.report import charts, page, results
from armdigits.training.snapshots import Snapshots
from stages import describe
from tests import helpers
from tests.cli.test_sweep import experiment, shown
from tests.fuzz.child import GB, Reader
from tests.report.conftest import CHARTS, SIZES, draw_once, write_small_run


def write_run() -> None:
    """What the readers need around an input: a small run in the current folder, and data sets of pictures."""
    torch.set_num_threads(1)  # threads do not survive the forks to come
    write_small_run()
    for name in CHARTS:
        setattr(charts, name, draw_once(name))
    model, weights_sha256 = checkpoint.read_checkpoint(paths.MODEL)
    pixels = read_split(paths.TRAIN_DATA).pixels()
    networks = (model, ConvolutionalNetwork(use_dropout=False))
    exported, convolutional = (build.trace(each, MNIST, 8) for each in networks)
    programs = {
        paths.FP32_PROGRAM: build.lower(exported),
        paths.INT8_PROGRAM: build.lower(build.quantize(exported, pixels, 8)),
        Path("cnn.pte"): build.lower(build.quantize(convolutional, pixels, 8)),
    }
    runtime.write_programs(programs, weights_sha256, read_provenance())
    out = {"path": str(paths.INT8_PROGRAM), "hash": "md5", "md5": lock.md5_of(paths.INT8_PROGRAM), "size": 1}
    stage = {"cmd": "python", "deps": [out], "outs": [out]}
    lock.LOCK.write_text(
        json.dumps({"schema": "2.0", "stages": {"quantize": stage, "sizes": {"outs": SIZES}}}), "utf-8"
    )
    shutil.copytree(paths.METRICS, "other/metrics")
    Path("experiments.json").write_text(shown(experiment(0.9, seed=1), experiment(0.8, None, rate=1)), "utf-8")
    Path("picture.png").write_bytes(picture().getvalue())
    helpers.write_idx(Path("idx"), {"train": helpers.some_images(40), "t10k": helpers.some_images(20)})
    helpers.write_pictures(Path("folder"), count=10, classes={"a": 0, "b": 1})


@contextmanager
def placed(content: bytes) -> Iterator[None]:
    """Put the file that an input describes into the current folder for a while: a line with its path, then its bytes.

    Before the path there may be a word: `gz` compresses the bytes, `link` makes a link to the path that they are,
    `fifo` a FIFO, `sparse` a file of 10 GB that has no bytes on the disk.
    """
    head, _, body = content.partition(b"\n")
    kind, _, name = head.rpartition(b" ")
    path = Path(os.fsdecode(name))
    if path.is_absolute() or ".." in path.parts or len(name) > 200:
        yield
        return
    before = path.read_bytes() if path.is_file() else None
    with suppress(OSError, ValueError):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        match kind:
            case b"link":
                path.symlink_to(os.fsdecode(body))
            case b"fifo":
                os.mkfifo(path)
            case b"sparse":
                path.touch()
                os.truncate(path, 10 * GB)
            case _:
                path.write_bytes(gzip.compress(body, 1) if kind == b"gz" else body)
    try:
        yield
    finally:
        with suppress(OSError, ValueError):
            path.unlink(missing_ok=True)
            path.parent.rmdir()  # where it is empty
        if before is not None:
            path.write_bytes(before)


def those(*names: str | Path) -> list[bytes]:
    """The seeds for files of the run."""
    return [os.fsencode(name) + b"\n" + Path(name).read_bytes() for name in names]


def picture(form: str = "png", mode: str = "L", **options: object) -> io.BytesIO:
    """A picture of a stroke as a file."""
    pixels = np.full((40, 30), 255, np.uint8)
    pixels[8:32, 13:17] = 0
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of pillow_heif, which uses an old method of Pillow's
        Image.fromarray(pixels).convert(mode).save(buffer, form, **options)
    return buffer


def pictures() -> list[bytes]:
    """Pictures in all formats and modes that Pillow writes."""
    Image.init()
    pillow_heif.register_heif_opener()
    found = [picture().getvalue()]
    for form in sorted(Image.SAVE):
        for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "I;16", "F"):
            with suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
                found.append(picture(form, mode).getvalue())
    pages = [Image.open(picture())] * 2
    found += [picture(form, save_all=True, append_images=pages).getvalue() for form in ("gif", "png", "tiff", "webp")]
    methods = ("group3", "group4", "jpeg", "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd")
    found += [picture("tiff", "1" if "group" in method else "L", compression=method).getvalue() for method in methods]
    exif = Image.Exif()
    exif[0x0112] = 6
    return [*found, picture("jpeg", exif=exif).getvalue()]


def read_picture(content: bytes) -> None:
    """Both readings."""
    read_image(content, "photo", (3, 24, 24))
    read_image(content, "ink", MNIST)


def idx_files() -> list[bytes]:
    """The four files, compressed and expanded under both names, and entries that are no files."""
    found = [b"idx/classes.txt\n" + b"".join(b"%d\n" % number for number in range(10)), b"idx/notes.txt\nany"]
    for path in sorted(Path("idx").iterdir()):
        name, content = os.fsencode(path), path.read_bytes()
        found += [name + b"\n" + content, b"gz " + name + b"\n" + gzip.decompress(content)]
        found += [name + b"\n" + gzip.decompress(content), b"fifo " + name + b"\n", b"link " + name + b"\n/dev/zero"]
    return found


def folder_files() -> list[bytes]:
    """A picture of several formats in the place of another or beside it, and entries that are no pictures."""
    names = (b"folder/a/0.png", b"folder/b/new", b"folder/c/0.png", b"folder/b/x.png/y", b"folder/x")
    kinds = (b"", b"fifo ", b"sparse ")
    bodies = [picture(form).getvalue() for form in ("png", "tiff", "gif")]
    found = [kind + name + b"\n" + content for name, kind, content in product(names, kinds, bodies)]
    return [*found, b"link folder/a/0.png\n/dev/zero"]


def read_images(module: ModuleType, name: str) -> None:
    """The survey of `preflight`, then the images."""
    dataset = Dataset(name=name, path=name, validation=4, seed=1, **helpers.IMAGES)
    module.survey(dataset)
    module.load(dataset)


def parameters() -> list[bytes]:
    """The tests' file, and the same as JSON, which is YAML too."""
    text = helpers.PARAMETERS.read_bytes()
    return [text, json.dumps(parse_yaml(text.decode(), "")).encode()]


def read_parameters(content: bytes) -> None:
    """What passes, DVC must read as well."""
    parse_parameters(content, paths.PARAMETERS)
    parse_yaml(content.decode(), str(paths.PARAMETERS))


def read_data(content: bytes) -> None:
    """A split whose checksum, and that of the record, are right."""
    paths.TRAIN_DATA.write_bytes(content)
    record = json.loads(paths.PROVENANCE.read_bytes())
    del record["sha256"]
    record["files"][paths.TRAIN_DATA.name]["sha256"] = files.sha256(content)
    record["sha256"] = files.sha256(json.dumps(record).encode())
    files.write_json(paths.PROVENANCE, record)
    read_split(paths.TRAIN_DATA)


def read_weights(content: bytes) -> None:
    """A checkpoint whose digest is right where it can be."""
    with suppress(Exception):
        size = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + size])
        record = json.loads(header["__metadata__"]["record"])
        digest = checkpoint.weights_sha256(load(content))
        content = save(load(content), {"record": json.dumps(record | {"weights_sha256": digest})})
    paths.MODEL.write_bytes(content)
    checkpoint.read_checkpoint(paths.MODEL)


STATE = {"weight": (2, 3), "step": ()}
FINGERPRINT = {"parameters": "a", "data": "b"}


def snapshots() -> list[bytes]:
    """The snapshots of two epochs."""
    found = []
    for epochs in (1, 2):
        losses = {"train_loss": 0.5, "validation_loss": 0.5, "validation_accuracy": 0.9}
        history = [{"epoch": epoch + 1, **losses} for epoch in range(epochs)]
        Snapshots(Path("state"), FINGERPRINT).save({name: torch.ones(size) for name, size in STATE.items()}, history)
        found.append(max(Path("state").iterdir()).read_bytes())
    return found


def read_snapshot(content: bytes) -> None:
    """A snapshot whose name has the right checksum."""
    shutil.rmtree("state", ignore_errors=True)
    files.write_bytes(Path(f"state/epoch-00001-{files.sha256(content)}.safetensors"), content)
    Snapshots(Path("state"), FINGERPRINT).restore({name: torch.zeros(size) for name, size in STATE.items()})


def within(command: Callable[[], object]) -> Callable[[bytes], None]:
    """A reader of one file of the run: a command that reads it."""

    def read(content: bytes) -> None:
        with placed(content):
            renew_provenance()
            command()

    return read


def records(command: Callable[[], object], *names: str | Path, **limits: Any) -> Reader:
    """A command that reads these records of a run."""
    return Reader(lambda: those(*names), within(command), placed=True, **limits)


def renew_provenance() -> None:
    """Give the record of the data set the right checksum of itself, where it can have one."""
    with suppress(ValueError, RecursionError, TypeError, AttributeError, OSError):
        record = json.loads(paths.PROVENANCE.read_bytes())
        record.pop("sha256", None)
        renewed = {**record, "sha256": files.sha256(json.dumps(record).encode())}
        paths.PROVENANCE.write_text(json.dumps(renewed), "utf-8")


def lock_files() -> list[bytes]:
    """What DVC writes, as JSON and as YAML."""
    content = lock.LOCK.read_bytes()
    return [content, yaml.safe_dump(json.loads(content)).encode()]


def read_lock(content: bytes) -> None:
    """The outputs of the stages, whose files are then hashed."""
    lock.LOCK.write_bytes(content)
    verify.mismatches(lock.locked_outs())


LISTED = {Path("idx/a"): "0" * 64, Path("idx/a\u2028b"): "1" * 64}


def checksums() -> list[bytes]:
    """A list as it is written."""
    survey.hold(LISTED)
    return [paths.CHECKSUMS.read_bytes(), b""]


def read_checksums(content: bytes) -> None:
    """A list that is accepted once is accepted again, unchanged."""
    paths.CHECKSUMS.write_bytes(content)
    survey.hold(LISTED)
    written = paths.CHECKSUMS.read_bytes()
    survey.hold(LISTED)
    assert paths.CHECKSUMS.read_bytes() == written


BODY = gzip.compress(bytes(1000), mtime=0)
MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()


def answers() -> list[bytes]:
    """Answers of an HTTP server; one that begins with `endless` goes on until the client hangs up."""
    lines = b"HTTP/1.1 200 OK\r\nContent-Type: application/gzip\r\n"
    return [
        lines + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
        lines + b"Content-Encoding: gzip\r\n\r\n" + gzip.compress(bytes(100_000_000)),
        lines + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\n\r\n<!doctype html>",
        b"endless " + lines + b"\r\n" + BODY,
    ]


def read_answer(content: bytes) -> None:
    """A file from a mirror that gives this answer to every request."""
    name = "t10k-labels-idx1-ubyte.gz"
    Path(name).unlink(missing_ok=True)
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=serve, args=(server, content), daemon=True).start()
        try:
            sources.fetch(name, MD5, Path(), f"http://127.0.0.1:{server.getsockname()[1]}")
        finally:
            server.shutdown(socket.SHUT_RDWR)  # ends the thread


def serve(server: socket.socket, content: bytes) -> None:
    """Answer every request until the server is closed."""
    endless = content.startswith(b"endless ")
    content = content.removeprefix(b"endless ")
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            with client, suppress(OSError):
                client.recv(65536)
                client.sendall(content)
                while endless and content:
                    client.sendall(content)


READERS = {
    "pictures": Reader(pictures, read_picture, memory=2 * GB),
    "idx": Reader(idx_files, within(lambda: read_images(idx, "idx")), placed=True),
    "folders": Reader(folder_files, within(lambda: read_images(folder, "folder")), placed=True, memory=2 * GB),
    "params": Reader(parameters, read_parameters),
    "pte": Reader(
        lambda: [Path(path).read_bytes() for path in (paths.FP32_PROGRAM, paths.INT8_PROGRAM, "cnn.pte")],
        lambda content: contents.read_back(content, paths.INT8_PROGRAM),
        programs=("flatc",),
    ),
    "data": Reader(lambda: [paths.TRAIN_DATA.read_bytes()], read_data),
    "checkpoints": Reader(lambda: [paths.MODEL.read_bytes()], read_weights),
    "snapshots": Reader(snapshots, read_snapshot),
    "describe": records(
        lambda: describe.main(load_parameters(paths.PARAMETERS)),
        *(paths.PROVENANCE, paths.PROGRAM_RECORD, paths.TRAIN_DETAILS, paths.EVALUATE_DETAILS),
        *(paths.QUANTIZE_METRICS, paths.QUANTIZE_DETAILS, paths.EXPORT_DETAILS),
    ),
    "results": records(
        lambda: print(results.table()),
        *(paths.TRAIN_METRICS, paths.EVALUATE_METRICS, paths.QUANTIZE_METRICS, paths.EXPORT_METRICS),
        *(paths.BENCHMARK_DETAILS, paths.PREDICTIONS),
    ),
    "show": records(
        lambda: show.run(Namespace()),
        *(paths.TRAIN_METRICS, paths.EVALUATE_METRICS, paths.QUANTIZE_METRICS, paths.EXPORT_METRICS),
        paths.BENCHMARK_DETAILS,
    ),
    "predict": records(
        lambda: predict.run(Namespace(files=["picture.png"], program="int8", show=False, json=False)),
        paths.PROGRAM_RECORD,
    ),
    "sweep": records(lambda: sweep.run(Namespace(files=["experiments.json"], save=None)), "experiments.json"),
    "compare": records(
        lambda: compare.run(Namespace(folders=[Path(), Path("other")])),
        *(paths.EVALUATE_METRICS, paths.QUANTIZE_METRICS, paths.BENCHMARK_DETAILS),
    ),
    "report": records(
        page.render,
        *(paths.PROVENANCE, paths.PROGRAM_RECORD, paths.HISTORY, paths.PREDICTIONS, paths.LATENCY, paths.LAYERS),
        *(paths.EVALUATE_METRICS, paths.EVALUATE_DETAILS, paths.QUANTIZE_METRICS, paths.QUANTIZE_DETAILS),
        *(paths.BENCHMARK_DETAILS, paths.EXPORT_METRICS, paths.TRAIN_METRICS),
        seconds=60,
        programs=("git",),
    ),
    "checksums": Reader(checksums, read_checksums),
    "mirrors": Reader(answers, read_answer),
    "lock": Reader(lock_files, read_lock),
}
