import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from armdigits.core import files, paths
from armdigits.core.errors import BadInput
from armdigits.data.dataset import Split, read_provenance, read_split
from tests.helpers import some_images, write_some_data


def test_a_split_is_read_as_it_was_written(folder: Path) -> None:
    write_some_data()
    split = read_split(paths.TRAIN_DATA)
    assert torch.equal(split.images, some_images(60, 1).images)
    assert torch.equal(split.labels, some_images(60, 1).labels)


def test_the_record_counts_the_images_of_each_class(folder: Path) -> None:
    write_some_data()
    record = read_provenance()
    assert record.name == "digits"
    assert record.of(paths.TEST_DATA).images == 30
    assert record.of(paths.TEST_DATA).images_of_class == [3] * 10


def test_pixels_are_floats_from_0_to_1() -> None:
    images = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    images[0, 0, 0, :3] = torch.tensor([0, 51, 255])
    split = Split(images, torch.tensor([3], dtype=torch.uint8))
    pixels = split.pixels()
    assert pixels.shape == (1, 1, 28, 28)
    assert pixels.dtype == torch.float32
    assert pixels.flatten()[:3].tolist() == [0, pytest.approx(0.2), 1]


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (torch.zeros(2, 1, 28, 28), torch.zeros(2, dtype=torch.uint8), "images: expected uint8"),
        (torch.zeros(2, 28, 28, dtype=torch.uint8), torch.zeros(2, dtype=torch.uint8), r"got uint8 \[2, 28, 28\]"),
        (torch.zeros(2, 2, 28, 28, dtype=torch.uint8), torch.zeros(2, dtype=torch.uint8), r"got \[2, 28, 28\]"),
        (
            torch.zeros(2, 1, 7, 28, dtype=torch.uint8),
            torch.zeros(2, dtype=torch.uint8),
            r"8 to 224 pixels, got \[1, 7, 28\]",
        ),
        (torch.zeros(3, 1, 28, 28, dtype=torch.uint8), torch.zeros(2, dtype=torch.uint8), r"uint8 \[2, C, H, W\], got"),
        (torch.zeros(2, 1, 28, 28, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64), "labels: expected uint8"),
        (torch.zeros(0, 1, 28, 28, dtype=torch.uint8), torch.zeros(0, dtype=torch.uint8), "at least one"),
    ],
)
def test_a_split_refuses_other_shapes_types_and_labels(
    images: torch.Tensor, labels: torch.Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Split(images, labels)


def test_a_flipped_bit_is_refused_with_both_checksums(folder: Path) -> None:
    write_some_data()
    content = bytearray(paths.TRAIN_DATA.read_bytes())
    content[-1] ^= 1
    paths.TRAIN_DATA.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_split(paths.TRAIN_DATA)
    message = str(caught.value)
    assert message.startswith("data/train.safetensors: expected SHA-256 ")
    assert files.sha256(bytes(content)) in message
    assert message.endswith("run: dvc repro --force download")


def test_a_split_in_the_file_of_another_is_refused(folder: Path) -> None:
    write_some_data()
    paths.TRAIN_DATA.write_bytes(paths.TEST_DATA.read_bytes())
    with pytest.raises(BadInput, match=r"train.safetensors: expected SHA-256"):
        read_split(paths.TRAIN_DATA)


def test_any_reader_of_safetensors_can_read_a_split(folder: Path) -> None:
    write_some_data()
    assert set(load_file(paths.TEST_DATA)) == {"images", "labels"}


@pytest.mark.parametrize(("before", "after"), [('"digits"', '"mnist"'), ('"images": 60', '"images": 61'), (",", "")])
def test_a_changed_record_is_refused(folder: Path, before: str, after: str) -> None:
    write_some_data()
    paths.PROVENANCE.write_text(paths.PROVENANCE.read_text("utf-8").replace(before, after), "utf-8")
    with pytest.raises(BadInput, match="^data/provenance.json: .*; run: dvc repro --force download$"):
        read_provenance()


def test_a_record_without_its_checksum_is_refused(folder: Path) -> None:
    write_some_data()
    content = json.loads(paths.PROVENANCE.read_text("utf-8"))
    del content["sha256"]
    files.write_json(paths.PROVENANCE, content)
    with pytest.raises(BadInput, match="^data/provenance.json: has no entry sha256; run: dvc repro --force download"):
        read_provenance()


@pytest.mark.parametrize(
    ("older", "line"), [({"format": 1}, "format: input should be 2"), ({"format": None}, "has no entry format")]
)
def test_a_record_of_an_older_format_is_refused_in_one_line(
    folder: Path, older: dict[str, int | None], line: str
) -> None:
    write_some_data()
    content = json.loads(paths.PROVENANCE.read_text("utf-8")) | older
    files.write_json(paths.PROVENANCE, {name: value for name, value in content.items() if value is not None})
    with pytest.raises(BadInput, match=f"^data/provenance.json: {line}; run: dvc repro --force download$"):
        read_provenance()


def test_a_file_that_is_not_a_split_is_refused_though_its_checksum_is_right(folder: Path) -> None:
    write_some_data()
    content = b"not safetensors"
    record = json.loads(paths.PROVENANCE.read_text("utf-8"))
    del record["sha256"]
    record["files"]["test.safetensors"]["sha256"] = files.sha256(content)
    files.write_json(paths.PROVENANCE, {**record, "sha256": files.sha256(json.dumps(record).encode())})
    paths.TEST_DATA.write_bytes(content)
    with pytest.raises(BadInput, match="^data/test.safetensors: not a split of a data set .*run: dvc repro --force"):
        read_split(paths.TEST_DATA)


def test_rows_select_images_with_their_labels() -> None:
    split = some_images(20)
    part = split[torch.tensor([3, 11])]
    assert part.labels.tolist() == [3, 1]
    assert torch.equal(part.images, split.images[[3, 11]])
