"""Properties of the readers for inputs that hypothesis generates: a correct result, or one clear refusal."""

import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.core.parameters import Parameters, load_parameters
from armdigits.data import sources
from armdigits.data.dataset import Split, read_split, write_dataset
from armdigits.models.checkpoint import read_checkpoint, write_checkpoint
from armdigits.models.mlp import NeuralNetwork
from tests.helpers import DIGITS, PARAMETERS, some_images, write_some_data

COMMITTED = load_parameters(PARAMETERS).model_dump()
KEYS = [(section, key) for section, values in COMMITTED.items() for key in values]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
)
LABELS = "t10k-labels-idx1-ubyte.gz"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a small data set and a checkpoint, which is the current one."""
    folder = tmp_path_factory.mktemp("properties")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_some_data()
        write_checkpoint(paths.MODEL, NeuralNetwork())
        yield folder


def refuses(path: Path, read: Callable[[Path], object]) -> bool:
    """Whether `read` refuses the file; each line of the refusal must name it."""
    try:
        read(path)
    except BadInput as refused:
        assert all(line.startswith(f"{path}: ") for line in str(refused).splitlines())
        return True
    return False


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@settings(max_examples=50)
def test_parameters_of_any_bytes_are_refused_in_lines_that_name_the_file(project: Path, content: bytes) -> None:
    paths.PARAMETERS.write_bytes(content)
    assert refuses(paths.PARAMETERS, load_parameters)


@given(key=st.sampled_from(KEYS), value=VALUES)
def test_any_value_of_a_parameter_is_kept_unchanged_or_refused(project: Path, key: tuple[str, str], value: Any) -> None:
    section, name = key
    content = {**COMMITTED, section: {**COMMITTED[section], name: value}}
    paths.PARAMETERS.write_text(json.dumps(content), "utf-8")  # JSON is YAML
    try:
        parameters = load_parameters(paths.PARAMETERS)
    except BadInput as refused:
        assert all(line.startswith("params.yaml: ") for line in str(refused).splitlines())
    else:
        taken = getattr(getattr(parameters, section), name)
        assert taken == value
        assert type(taken) is type(value) or isinstance(taken, float)
        assert Parameters(**parameters.model_dump()) == parameters


@given(size=st.integers(1, 40), seed=st.integers(0, 1000))
def test_any_split_is_read_as_it_was_written(project: Path, size: int, seed: int) -> None:
    split = some_images(size, seed)
    other = Path("data/other.safetensors")
    record = paths.PROVENANCE.read_bytes()
    write_dataset("digits", {}, {other: split}, DIGITS)
    again = read_split(other)
    paths.PROVENANCE.write_bytes(record)
    assert isinstance(again, Split)
    assert torch.equal(again.images, split.images)
    assert torch.equal(again.labels, split.labels)


def damaged(content: bytes, data: st.DataObject) -> bytes:
    """Some bytes of `content` replaced, removed or added."""
    start = data.draw(st.integers(0, len(content)), "start")
    stop = data.draw(st.integers(start, min(len(content), start + 50)), "stop")
    return content[:start] + data.draw(st.binary(max_size=20), "bytes") + content[stop:]


@given(data=st.data())
@pytest.mark.parametrize(
    ("path", "read"), [(paths.TEST_DATA, read_split), (paths.MODEL, lambda path: read_checkpoint(path))]
)
def test_any_damage_to_a_binary_file_is_refused(
    project: Path, path: Path, read: Callable[[Path], object], data: st.DataObject
) -> None:
    content = path.read_bytes()
    changed = damaged(content, data)
    path.write_bytes(changed)
    try:
        assert refuses(path, read) == (changed != content)
    finally:
        path.write_bytes(content)


@given(data=st.data())
def test_any_damage_to_the_record_of_the_data_is_refused_or_has_no_effect(project: Path, data: st.DataObject) -> None:
    content = paths.PROVENANCE.read_bytes()
    changed = damaged(content, data)
    paths.PROVENANCE.write_bytes(changed)
    try:
        read_split(paths.TEST_DATA)
    except BadInput as refused:
        assert "\n" not in str(refused)
        assert str(refused).endswith("run: dvc repro --force download")
    else:
        assert json.loads(changed) == json.loads(content)
    finally:
        paths.PROVENANCE.write_bytes(content)


@given(idx=st.binary(max_size=60), compress=st.booleans())
def test_an_idx_file_of_any_bytes_is_refused(project: Path, idx: bytes, compress: bool) -> None:
    Path(LABELS).write_bytes(gzip.compress(idx) if compress else idx)
    assert refuses(Path(LABELS), sources.read_array)


@given(
    dimensions=st.lists(st.integers(0, 2**32 - 1), max_size=4),
    kind=st.integers(0, 255),
    count=st.integers(0, 255),
    pixels=st.binary(max_size=40),
)
def test_an_idx_file_with_any_header_of_another_array_is_refused(
    project: Path, dimensions: list[int], kind: int, count: int, pixels: bytes
) -> None:
    header = bytes([0, 0, kind, count]) + b"".join(size.to_bytes(4, "big") for size in dimensions)
    Path(LABELS).write_bytes(gzip.compress(header + pixels))
    assert refuses(Path(LABELS), sources.read_array)
