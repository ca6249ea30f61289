"""The C source called from Python."""

import gc
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from armdigits.core import files, paths
from armdigits.core.errors import BadInput
from armdigits.csource import toolchain
from armdigits.csource.binding import CProgram, build, read_c_program
from armdigits.data.dataset import read_split
from armdigits.program.runtime import read_program


@pytest.fixture
def program(ran: Path) -> CProgram:
    return read_c_program()


def test_arrays_and_tensors_of_both_types_give_the_int8_programs_logits(program: CProgram) -> None:
    test = read_split(paths.TEST_DATA)
    expected = read_program(paths.INT8_PROGRAM).logits(test.pixels())
    images = test.images
    for logits in (
        torch.from_numpy(program(images.numpy())),
        torch.from_numpy(program(test.pixels().numpy())),
        torch.from_numpy(program.on_arrays()(test.pixels().numpy())),
        torch.from_numpy(program.on_arrays(float_pixels=False)(images.numpy())),
        program.on_tensors()(test.pixels()),
        program.on_tensors(float_pixels=False)(images),
    ):
        assert torch.equal(logits, expected)


def test_a_function_keeps_its_library_loaded(ran: Path) -> None:
    for_tensors, for_arrays = read_c_program().on_tensors(), read_c_program().on_arrays()
    gc.collect()
    assert for_tensors(torch.zeros(1, 1, 28, 28)).shape == (1, 10)
    assert for_arrays(np.zeros((1, 784), np.float32)).shape == (1, 10)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 1, 28, 27), np.uint8),
        np.zeros(784, np.uint8),
        np.zeros((1, 1, 28, 28), np.float64),
        np.full((1, 1, 28, 28), 1.1, np.float32),
        np.full((1, 1, 28, 28), np.nan, np.float32),
    ],
    ids=lambda images: f"{images.dtype}{images.shape}{images.flat[0]}",
)
def test_other_images_are_refused(program: CProgram, images: np.ndarray) -> None:
    with pytest.raises(BadInput, match="^images: expected"):
        program(images)


def test_no_images_give_no_logits(program: CProgram) -> None:
    assert program(np.zeros((0, 1, 28, 28), np.uint8)).shape == (0, 10)


def test_the_library_is_compiled_once_and_anew_when_the_source_changes(
    ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, compile_files = [], toolchain.compile_files
    monkeypatch.setattr(toolchain, "compile_files", lambda *given: (calls.append(1), compile_files(*given)))
    first = build()
    count = len(calls)
    assert build() == first and len(calls) == count <= 1
    set_source(paths.C_SOURCE.read_text("utf-8") + "\n")
    assert build() != first and len(calls) == count + 1
    assert not first.exists(), "of the older source"


def test_a_truncated_library_is_built_again(ran: Path) -> None:
    library = build()
    content = library.read_bytes()
    library.write_bytes(content[:5000])
    assert read_c_program()(np.zeros((1, 1, 28, 28), np.uint8)).shape == (1, 10)
    assert library.read_bytes() == content


def test_two_processes_build_at_once(ran: Path) -> None:
    shutil.rmtree(paths.C_LIBRARIES, ignore_errors=True)
    command = [sys.executable, "-c", "from armdigits.csource.binding import read_c_program as r; r()"]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    assert [path.name for path in paths.C_LIBRARIES.iterdir()] == [build().name]


def test_in_a_read_only_project_the_library_is_built_in_a_temporary_folder(
    ran: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(paths.C_LIBRARIES, ignore_errors=True)
    monkeypatch.setattr(paths, "C_LIBRARIES", Path("/proc/c"))  # for root, too
    assert read_c_program()(np.zeros((1, 1, 28, 28), np.uint8)).shape == (1, 10)


def set_source(text: str) -> None:
    """Write another digits.c, with its digest in the record, where no lock file vouches for the first."""
    Path("dvc.lock").unlink(missing_ok=True)
    paths.C_SOURCE.write_text(text, "utf-8")
    record = json.loads(paths.EXPORT_DETAILS.read_text("utf-8"))
    record["sources_sha256"][paths.C_SOURCE.name] = files.sha256(text.encode())
    files.write_json(paths.EXPORT_DETAILS, record)


@pytest.mark.parametrize("path", [paths.C_HEADER, paths.C_SOURCE])
def test_a_changed_source_is_refused(ran: Path, path: Path) -> None:
    Path("dvc.lock").unlink()
    path.write_text(path.read_text("utf-8") + "\n", "utf-8")
    expected = (
        f"^{path}: expected SHA-256 \\w{{64}} .from metrics/export-details.json., found \\w{{64}}; run: dvc repro --"
    )
    with pytest.raises(BadInput, match=expected):
        read_c_program()


def test_the_source_of_another_program_is_refused(ran: Path) -> None:
    Path("dvc.lock").unlink()
    record = json.loads(paths.PROGRAM_RECORD.read_text("utf-8"))
    record["programs_sha256"][paths.INT8_PROGRAM.name] = "0" * 64
    files.write_json(paths.PROGRAM_RECORD, record)
    with pytest.raises(BadInput, match="^models/c/digits.c: made from another program than models/int8.pte; run: "):
        read_c_program()


def test_a_source_for_images_of_another_shape_is_refused(ran: Path) -> None:
    Path("dvc.lock").unlink()
    record = json.loads(paths.PROGRAM_RECORD.read_text("utf-8"))
    files.write_json(paths.PROGRAM_RECORD, {**record, "shape": [3, 32, 32]})
    line = r"for images \[1, 28, 28\], but models/programs.json says \[3, 32, 32\]; run: dvc repro --force export"
    with pytest.raises(BadInput, match=f"^models/c/digits.c: {line}$"):
        read_c_program()


def test_a_missing_source_names_the_stage_to_run(folder: Path) -> None:
    with pytest.raises(BadInput, match="models/c/digits.h: no such file; run: dvc repro export"):
        read_c_program()


def test_neither_torch_nor_executorch_is_imported(ran: Path) -> None:
    code = (
        "import sys, numpy\nfrom armdigits.csource.binding import read_c_program\n"
        "read_c_program()(numpy.zeros((1, 1, 28, 28), numpy.uint8))\n"
        "import armdigits.pictures.reading, armdigits.cli.predict\n"
        "print({'torch', 'executorch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
