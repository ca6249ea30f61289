"""`armdigits dataset`."""

import sys

import pytest

from armdigits.cli import main
from armdigits.cli.dataset import select
from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.core.parameters import check_sizes, load_parameters
from tests.helpers import (
    ASCII,
    PARAMETERS,
    needs_utf8_names,
    run,
    set_parameters,
    some_images,
    write_idx,
    write_pictures,
)


@pytest.fixture(autouse=True)
def original(folder):
    """The text of params.yaml, which is in the current folder."""
    paths.PARAMETERS.write_text(PARAMETERS.read_text("utf-8"), "utf-8")
    return PARAMETERS.read_text("utf-8")


def comments(text):
    return [line.split("#")[1:] for line in text.splitlines()]


def test_selecting_a_data_set_changes_its_values_and_keeps_the_comments(original):
    select("mnist")
    mnist = paths.PARAMETERS.read_text("utf-8")
    changes, _ = select("digits")
    assert "dataset.name: mnist -> digits" in changes
    assert load_parameters(paths.PARAMETERS).dataset.name == "digits"
    assert comments(paths.PARAMETERS.read_text("utf-8")) == comments(original)
    select("mnist")
    assert paths.PARAMETERS.read_text("utf-8") == mnist


@needs_utf8_names
def test_one_command_sets_all_values_for_a_folder_of_pictures_and_another_sets_them_back(folder, original, capsys):
    select("mnist")
    mnist = paths.PARAMETERS.read_text("utf-8")
    write_pictures(folder / "my ä", 20)
    main(["dataset", "folder", "my ä"])
    printed = capsys.readouterr().out.splitlines()
    parameters = load_parameters(paths.PARAMETERS)
    assert (parameters.dataset.name, parameters.dataset.path, parameters.dataset.validation) == ("folder", "my ä", 7)
    assert (parameters.train.batch_size, parameters.quantize.calibration_samples) == (4, 21)
    assert "dataset.path: null -> my ä" in printed
    assert "evaluate.min_accuracy: 0.985 -> 0.334" in printed
    assert printed[-1].startswith("The gates evaluate.min_accuracy and quantize.max_accuracy_drop are low")
    assert comments(paths.PARAMETERS.read_text("utf-8")) == comments(original)
    select("mnist")
    assert paths.PARAMETERS.read_text("utf-8") == mnist


def test_one_command_sets_the_shape_and_the_recipe_for_photos_and_another_sets_them_back(folder, original, capsys):
    select("mnist")
    mnist = paths.PARAMETERS.read_text("utf-8")
    write_pictures(folder / "mine", 20, side=100)
    main(["dataset", "folder", "mine", "--photo", "--colour", "--size", "96"])
    printed = capsys.readouterr().out.splitlines()
    parameters = load_parameters(paths.PARAMETERS)
    assert (parameters.dataset.reading, parameters.dataset.shape) == ("photo", (3, 96, 96))
    assert {"model.name: mlp -> cnn", "augmentation.flip: 0.0 -> 0.5", "train.centre: True -> False"} <= {*printed}
    select("folder", "mine")
    assert load_parameters(paths.PARAMETERS).dataset.shape == (3, 96, 96), "a folder keeps its shape"
    select("mnist")
    assert paths.PARAMETERS.read_text("utf-8") == mnist


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["mnist", "--photo"], "--ink, --photo, --colour and --size are for a folder; "),
        (["folder", "mine", "--colour"], "--colour: images in colour are photos; add --photo"),
        (["folder", "mine", "--size", "big"], "--size: expected pixels, as 96 or 96x128 (height x width), got big"),
        (["folder", "mine", "--size", "300"], "--size: images: expected 1 or 3 channels and sides of 8 to 224 pixels"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(original, capsys, options, line):
    with pytest.raises(SystemExit) as ended:
        main(["dataset", *options])
    assert ended.value.code == 2
    (printed,) = capsys.readouterr().err.splitlines()
    assert line in printed
    assert paths.PARAMETERS.read_text("utf-8") == original


def test_idx_files_say_the_shape_and_whether_they_are_photos(folder):
    shape = (3, 20, 40)
    write_idx(folder / "fashion", {"train": some_images(100, 1, shape), "t10k": some_images(30, 2, shape)})
    select("idx", "fashion")
    dataset = load_parameters(paths.PARAMETERS).dataset
    assert (dataset.reading, dataset.shape) == ("photo", shape)


def test_comments_survive_in_a_locale_without_their_letters(folder, original):
    paths.PARAMETERS.write_text(f"# ä µ か\n{original}", "utf-8")
    done = run(folder, sys.executable, "-m", "armdigits", "dataset", "digits", **ASCII)
    assert (done.returncode, done.stderr) == (0, "")
    assert paths.PARAMETERS.read_text("utf-8").startswith("# ä µ か\n")


def test_the_command_prints_the_changes_or_that_there_are_none(capsys):
    main(["dataset", "mnist"])
    capsys.readouterr()
    main(["dataset", "digits"])
    assert "dataset.name: mnist -> digits\n" in capsys.readouterr().out
    main(["dataset", "digits"])
    assert capsys.readouterr().out == "params.yaml: digits is selected already\n"


def test_only_pictures_that_can_be_used_count_and_the_command_again_repairs_the_values(folder, capsys):
    write_pictures(folder / "mine", 20)
    for number in range(10):
        (folder / "mine" / "a" / f"{number}.png").write_bytes(b"damaged")
    main(["dataset", "folder", "mine"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "10 left out:"
    assert "evaluate.min_accuracy: 0.985 -> 0.401" in printed, "20 of 50 pictures are of the largest class"
    assert load_parameters(paths.PARAMETERS).quantize.calibration_samples == 17
    for path in (folder / "mine" / "c").glob("1?.png"):
        path.unlink()
    main(["dataset", "folder", "mine"])
    assert "evaluate.min_accuracy: 0.401 -> 0.501" in capsys.readouterr().out.splitlines()
    assert load_parameters(paths.PARAMETERS).quantize.calibration_samples == 14


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("cifar",), "params.yaml: dataset.name: expected one of mnist, digits, idx, folder, got 'cifar'"),
        (("folder",), "params.yaml: dataset.path: expected the folder of the data set folder, got null"),
        (("idx", "gone"), "params.yaml: dataset.path: gone: no such folder"),
        (("folder", "few"), "few: expected at least 10 pictures of each class, found a: 3, b: 3, c: 3"),
        (("mnist", "few"), "few/a: no class of mnist; expected folders named 0, 1, 2, 3, 4, 5, 6, 7, 8, 9"),
    ],
)
def test_a_data_set_that_cannot_be_used_changes_nothing(folder, original, arguments, line):
    write_pictures(folder / "few", 3)
    with pytest.raises(BadInput) as caught:
        select(*arguments)
    assert str(caught.value) == line
    assert paths.PARAMETERS.read_text("utf-8") == original


def test_values_that_no_longer_fit_the_pictures_name_the_command_that_repairs_them(folder):
    write_pictures(folder / "my ä", 20)
    select("folder", "my ä")
    with pytest.raises(BadInput) as caught:
        check_sizes(load_parameters(paths.PARAMETERS), 3, 20)
    repair = "params.yaml: to fit these values to the images, run: armdigits dataset folder 'my ä'"
    assert str(caught.value).splitlines()[-1] == repair


def test_other_values_that_do_not_fit_are_named_and_nothing_changes(folder):
    write_pictures(folder / "mine", 20)
    set_parameters(folder, {"train.processes": "8"})
    before = paths.PARAMETERS.read_text("utf-8")
    with pytest.raises(BadInput, match=r"^params.yaml: train.processes: expected a divisor of train.batch_size \(4\)"):
        select("folder", "mine")
    assert paths.PARAMETERS.read_text("utf-8") == before
