from pathlib import Path

import pytest

from armdigits.errors import BadInput
from armdigits.parameters import Parameters, load_parameters
from tests.conftest import ROOT, set_parameters


@pytest.fixture
def project(folder: Path) -> Path:
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    return folder


def errors(project: Path, **values: str) -> list[str]:
    set_parameters(project, {key.replace("__", "."): value for key, value in values.items()})
    with pytest.raises(BadInput) as caught:
        load_parameters(Path("params.yaml"))
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def test_the_committed_file_is_valid(project):
    assert isinstance(load_parameters(Path("params.yaml")), Parameters)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.epochs", "0", "expected a whole number of at least 1 and of at most 10000, got 0"),
        ("train.epochs", "2.5", "expected a whole number of at least 1 and of at most 10000, got 2.5"),
        ("train.epochs", "yes", "expected a whole number of at least 1 and of at most 10000, got true"),
        ("train.epochs", "", "expected a whole number of at least 1 and of at most 10000, got nothing"),
        ("train.device", "gpu", "expected cpu, cuda, mps or auto, got the text 'gpu'"),
        ("train.schedule", "constant", "train.warm_up: expected 0 where train.schedule is constant, got 0.2"),
        ("teach.schedule", "constant", "teach.warm_up: expected 0 where teach.schedule is constant, got 0.2"),
        ("train.teacher_weight", "0", "train.temperature: expected 1 where train.teacher_weight is 0, got 3.0"),
        ("teach.views", "0", "expected a whole number of at least 1 and of at most 1000, got 0"),
        ("augmentation.zoom", "-0.5", "expected a number of at least 0 and of at most 1, got -0.5"),
        ("train.learning_rate", "1e-3", "got the text '1e-3' (write 0.001)"),
        ("train.learning_rate", ".nan", "expected a number above 0 and of at most 1, got nan"),
        ("train.dropout", "1.0", "expected a number of at least 0 and below 1, got 1.0"),
        ("train.seed", "-1", "expected a whole number of at least 0 and below 4294967296, got -1"),
        ("dataset.name", "cifar", "expected mnist or digits, got the text 'cifar'"),
        ("benchmark.batch_sizes", "[1, 0]", "benchmark.batch_sizes.1: expected a whole number of at least 1, got 0"),
        ("benchmark.batch_sizes", "[]", "expected a list of at least 1 and of at most 16, got []"),
        ("benchmark.batch_sizes", "[1, 8, 8]", "expected each size once, got [1, 8, 8]"),
        ("benchmark.batch_sizes", "[2]", "expected size 1 among them (the results table shows it), got [2]"),
        ("benchmark.batch_sizes", "[1, 4096]", "expected at most quantize.max_batch (1024), got 4096"),
        ("dataset.validation", "60000", "expected 10 to 59990 of the 60000 training images of mnist"),
        ("train.batch_size", "55001", "expected at most the 55000 images that are left to train on, got 55001"),
        ("train.processes", "0", "expected a whole number of at least 1 and of at most 4096, got 0"),
        ("train.processes", "33", "expected at most train.batch_size (32), an image for each, got 33"),
        ("quantize.calibration_samples", "60000", "expected at most the 55000 images that are left to train on"),
    ],
)
def test_a_bad_value_gets_one_line_that_says_what_was_expected(project, key, value, message):
    (line,) = errors(project, **{key.replace(".", "__"): value})
    assert line.startswith(f"params.yaml: {key.split('.')[0]}.")
    assert message in line


def test_all_errors_come_at_once(project):
    lines = errors(project, train__epochs="0", train__dropout="2", benchmark__threads="no")
    assert [line.split(": ")[1] for line in lines] == ["train.epochs", "train.dropout", "benchmark.threads"]


def test_several_views_of_an_image_that_nothing_distorts_are_refused(project):
    off = {f"augmentation__{name}": "0.0" for name in ("rotation", "zoom", "shear", "shift")}
    expected = ["params.yaml: teach.views: expected 1 where augmentation distorts nothing, got 4"]
    assert errors(project, **off) == expected


def test_an_unknown_key_is_told_its_nearest_neighbour(project):
    text = Path("params.yaml").read_text().replace("  dropout:", "  dropuot:")
    Path("params.yaml").write_text(text)
    lines = errors(project)
    assert "params.yaml: train.dropout: missing; add it, a number of at least 0 and below 1" in lines
    assert "params.yaml: train.dropuot: unknown key; did you mean dropout?" in lines


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epochs: 1}\ntrain: {epochs: 2}", "line 2: the key train stands here a second time"),
        ("train: {epochs: 010}", "line 1: write the number 010 in plain decimal digits"),
        ("train: {epochs: 12:30}", "line 1: write the number 12:30 in plain decimal digits"),
        ("train: {epochs: 1", "line 1:"),
        ("!!python/object/apply:os.system [exit]", "line 1: could not determine a constructor"),
        (
            "- train",
            "expected sections (dataset, augmentation, teach, train, evaluate, quantize, benchmark), got ['train']",
        ),
        ("", "expected sections (dataset, augmentation, teach, train, evaluate, quantize, benchmark), got nothing"),
        ("\xff\x00", "unacceptable character"),
    ],
)
def test_text_that_is_no_parameter_file_gets_one_line(folder, text, message):
    Path("params.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput) as caught:
        load_parameters(Path("params.yaml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_to_run(folder):
    with pytest.raises(BadInput, match=r"params.yaml: there is no such file here; run from the project's folder"):
        load_parameters(Path("params.yaml"))
