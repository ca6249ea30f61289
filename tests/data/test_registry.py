"""The registry of data sets, and what is known of one before its images are read."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.core.parameters import Dataset, check_sizes, parse_parameters
from armdigits.core.shape import MNIST
from armdigits.data import registry
from armdigits.data.dataset import Split
from armdigits.data.images import Images
from armdigits.data.survey import HEADER, Survey, checksums, hold
from tests.helpers import IMAGES, PARAMETERS, some_images, write_idx, write_pictures

DIGITS = Dataset(name="digits", path=None, validation=200, seed=1, **IMAGES)


def test_an_unknown_name_is_refused_with_all_that_there_are() -> None:
    with pytest.raises(BadInput) as caught:
        registry.survey(DIGITS.model_copy(update={"name": "cifar"}))
    expected = "params.yaml: dataset.name: expected one of mnist, digits, idx, folder, got 'cifar'"
    assert str(caught.value) == expected


def test_the_survey_of_digits_counts_what_is_loaded() -> None:
    survey, images = registry.survey(DIGITS), registry.load(DIGITS)
    assert survey == (images.classes, len(images.train), len(images.test), (), MNIST, 0, 0)


def test_pictures_are_added_to_the_training_images_of_digits(folder: Path) -> None:
    write_pictures(folder / "mine", 3, {"7": 7})
    dataset = DIGITS.model_copy(update={"path": "mine"})
    images = registry.load(dataset)
    assert images.added
    assert images.added.labels.tolist() == [7, 7, 7]
    assert list(images.source) == ["sklearn.datasets.load_digits", "mine"]
    assert registry.survey(dataset).added == 3
    assert registry.full_name(dataset) == "digits + mine"


def test_a_survey_imports_neither_torch_nor_what_reads_images() -> None:
    program = "import sys, armdigits.data.registry; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "torchvision", "sklearn", "scipy", "PIL"} & set(done.stdout.split())


def test_images_of_another_size_in_a_data_set_of_ones_own_are_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(_: Dataset) -> Images:
        split = Split(torch.zeros(20, 1, 32, 32, dtype=torch.uint8), torch.zeros(20, dtype=torch.uint8))
        return Images(split, split, {}, ("a", "b"))

    monkeypatch.setitem(registry.REGISTRY, "large", registry.DataSet(load, lambda _: Survey(("a", "b"), 20, 20)))
    with pytest.raises(BadInput, match=r"^large: expected images \[1, 28, 28\], got \[1, 32, 32\]$"):
        registry.load(DIGITS.model_copy(update={"name": "large"}))


def test_the_digest_changes_with_content_and_names_only(folder: Path) -> None:
    def record() -> dict[str, str]:
        dataset = Dataset(name="folder", path="mine", validation=6, seed=1, **IMAGES)
        return registry.record(dataset, registry.survey(dataset))

    write_pictures(folder / "mine", 10)
    first = record()
    (folder / "mine" / "a" / "0.png").touch()
    assert record() == first
    (folder / "mine" / "a" / "0.png").rename(folder / "mine" / "a" / "00.png")
    renamed = record()
    with (folder / "mine" / "b" / "0.png").open("ab") as file:
        file.write(b"more")
    assert len({*first.values(), *renamed.values(), *record().values()}) == 3
    assert registry.record(DIGITS, registry.survey(DIGITS)) == {}


def test_the_checksums_of_idx_files_are_recorded_once_and_hold_from_then_on(folder: Path) -> None:
    write_idx(folder / "my fashion", {"train": some_images(60, 1), "t10k": some_images(30, 2)})
    dataset = Dataset(name="idx", path="my fashion", validation=20, seed=1, **IMAGES)
    registry.record(dataset, registry.survey(dataset))
    written = paths.CHECKSUMS.read_text("utf-8")
    subprocess.run(["sha256sum", "--check", "--strict", paths.CHECKSUMS], check=True)
    write_idx(folder / "my fashion", {"train": some_images(60, 3)})
    with pytest.raises(BadInput) as caught:
        registry.record(dataset, registry.survey(dataset))
    (line,) = str(caught.value).splitlines()
    assert line.startswith("my fashion/train-images-idx3-ubyte.gz: expected SHA-256 ")
    assert line.endswith("restore the file, or remove its line from data/checksums.txt to accept this one")
    assert paths.CHECKSUMS.read_text("utf-8") == written
    paths.CHECKSUMS.write_text(
        "".join(line for line in written.splitlines(True) if "train-images" not in line), "utf-8"
    )
    registry.record(dataset, registry.survey(dataset))
    assert len(paths.CHECKSUMS.read_text("utf-8").splitlines()) == len(written.splitlines())


def test_the_list_of_checksums_exists_without_idx_files_too(folder: Path) -> None:
    registry.record(DIGITS, registry.survey(DIGITS))
    assert paths.CHECKSUMS.read_text("utf-8") == HEADER


def test_files_whose_names_are_not_utf8_have_checksums_too(folder: Path) -> None:
    path = Path(b"f\xff".decode(errors="surrogateescape"))
    try:
        path.write_text("x", "utf-8")
    except OSError:
        pytest.skip("this file system has no such names")
    hold(checksums((path,)))
    hold(checksums((path,)))
    assert b"  f\xff\n" in paths.CHECKSUMS.read_bytes()


def test_a_path_with_an_odd_line_separator_is_found_again(folder: Path) -> None:
    path = Path("a\u2028b")
    path.write_text("x", "utf-8")
    hold(checksums((path,)))
    path.write_text("y", "utf-8")
    with pytest.raises(BadInput, match="expected SHA-256"):
        hold(checksums((path,)))


@pytest.mark.parametrize(
    ("content", "number"),
    [("", 1), (HEADER[:-1], 2), (HEADER + "0" * 64 + " x\n", 3), (HEADER + "0" * 64 + "  x", 3), ("<<<<<<< main\n", 1)],
    ids=["empty", "cut comment", "one space", "cut path", "conflict"],
)
def test_a_list_of_checksums_that_is_empty_or_malformed_is_refused(folder: Path, content: str, number: int) -> None:
    paths.CHECKSUMS.parent.mkdir()
    paths.CHECKSUMS.write_text(content, "utf-8")
    with pytest.raises(BadInput, match=f"^data/checksums.txt: line {number}: expected a SHA-256, "):
        hold({Path("x"): "1" * 64})
    assert paths.CHECKSUMS.read_text("utf-8") == content


SIZES = [(2, 16, 4, 3), (3, 100, 25, 25), (10, 1_437, 360, 0), (47, 112_800, 18_800, 400), (100, 800, 200, 2)]


@pytest.mark.parametrize(("classes", "train", "test", "largest"), SIZES)
def test_the_values_for_any_number_of_images_fit_it(classes: int, train: int, test: int, largest: int) -> None:
    survey = Survey(tuple(map(str, range(classes))), train, test, largest_class=largest)
    content = yaml.safe_load(PARAMETERS.read_text("utf-8"))
    for section, values in registry.presets("folder", survey).items():
        content[section].update(values)
    parameters = parse_parameters(yaml.dump(content).encode(), paths.PARAMETERS)
    check_sizes(parameters, classes, train)
    assert max(1 / classes, min(largest / test, 0.999)) < parameters.evaluate.min_accuracy


@pytest.mark.parametrize("name", ["mnist", "digits"])
def test_large_data_sets_have_the_batch_sizes_of_params_yaml(name: str) -> None:
    content = yaml.safe_load(PARAMETERS.read_text("utf-8"))
    presets = registry.presets(name, registry.survey(DIGITS.model_copy(update={"name": name})))
    for section in ("teach", "train"):
        assert presets[section] == {"batch_size": content[section]["batch_size"]}
