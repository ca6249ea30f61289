from pathlib import Path

import pytest

from armdigits.core.errors import BadInput
from armdigits.core.parameters import Parameters, check_sizes, load_parameters
from tests.helpers import PARAMETERS, set_parameters


@pytest.fixture
def project(folder: Path) -> Path:
    """A folder with valid parameters, which is the current one."""
    (folder / "params.yaml").write_text(PARAMETERS.read_text("utf-8"), "utf-8")
    return folder


def errors(project: Path, **values: str) -> list[str]:
    """The lines with which the file is refused after these changes; `train__epochs` stands for `train.epochs`."""
    set_parameters(project, {key.replace("__", "."): value for key, value in values.items()})
    with pytest.raises(BadInput) as caught:
        load_parameters(Path("params.yaml"))
    assert caught.value.exit_code == 2
    return str(caught.value).splitlines()


def test_a_valid_file_is_read(project: Path) -> None:
    assert isinstance(load_parameters(Path("params.yaml")), Parameters)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.epochs", "0", "train.epochs: input should be greater than or equal to 1, got 0"),
        ("train.epochs", "2.5", "train.epochs: input should be a valid integer, got 2.5"),
        ("train.epochs", "true", "train.epochs: input should be a valid integer, got True"),
        ("train.epochs", "", "train.epochs: input should be a valid integer, got None"),
        ("train.epochs", "{a: 1}", "train.epochs: input should be a valid integer, got a section"),
        ("compute.device", "gpu", "compute.device: input should be 'cpu', 'cuda', 'mps' or 'auto', got 'gpu'"),
        ("train.learning_rate", ".nan", "train.learning_rate: input should be a finite number, got nan"),
        ("train.learning_rate", "0", "train.learning_rate: input should be greater than 0, got 0"),
        ("train.dropout", "1.0", "train.dropout: input should be less than 1, got 1.0"),
        ("train.seed", "-1", "train.seed: input should be greater than or equal to 0, got -1"),
        ("dataset.channels", "3", "dataset.channels: expected 1 where dataset.reading is ink, got 3"),
        ("dataset.channels", "2", "dataset.channels: input should be 1 or 3, got 2"),
        ("dataset.height", "225", "dataset.height: input should be less than or equal to 224, got 225"),
        ("train.schedule", "constant", "train.warm_up: expected 0 where train.schedule is constant, got 0.2"),
        ("teach.schedule", "constant", "teach.warm_up: expected 0 where teach.schedule is constant, got 0.2"),
        ("train.teacher_weight", "0", "train.temperature: expected 1 where train.teacher_weight is 0, got 3.0"),
        ("teach.views", "0", "teach.views: input should be greater than or equal to 1, got 0"),
        ("train.weight_decay", "0.1", "train.weight_decay: expected 0 where train.optimizer is adam, got 0.1"),
        ("train.momentum", "0.9", "train.momentum: expected 0 where train.optimizer is adam, got 0.9"),
        ("augmentation.zoom", "-0.5", "augmentation.zoom: input should be greater than or equal to 0, got -0.5"),
        ("dataset.path", "''", "dataset.path: string should have at least 1 character, got ''"),
        ("dataset.path", "2024", "dataset.path: input should be a valid string, got 2024"),
        ("train.processes", "0", "train.processes: input should be greater than or equal to 1, got 0"),
        ("train.processes", "3", "train.processes: expected a divisor of train.batch_size (32)"),
        ("train.processes", "64", "train.processes: expected a divisor of train.batch_size (32)"),
        ("export.targets", "[]", "list should have at least 1 item after validation, not 0, got []"),
        ("export.targets", "[wasm32, wasm32]", "targets: expected each target once, got ['wasm32', 'wasm32']"),
        ("benchmark.batch_sizes", "[1, 0]", "batch_sizes.1: input should be greater than or equal to 1, got 0"),
        ("benchmark.batch_sizes", "[]", "list should have at least 1 item after validation, not 0, got []"),
        ("benchmark.batch_sizes", "[1, 8, 8]", "batch_sizes: expected each size once, got [1, 8, 8]"),
        ("benchmark.batch_sizes", "[2]", "expected size 1 among them (the results table shows it), got [2]"),
        ("benchmark.batch_sizes", "[1, 4096]", "batch_sizes: expected at most quantize.max_batch (1024), got 4096"),
    ],
)
def test_an_invalid_value_gets_one_line_with_the_key_what_was_expected_and_what_was_found(
    project: Path, key: str, value: str, message: str
) -> None:
    (line,) = errors(project, **{key.replace(".", "__"): value})
    assert line.startswith(f"params.yaml: {key.split('.')[0]}.")
    assert message in line


@pytest.mark.parametrize("value", [f"0x{'f' * 5000}", f"[{'1, ' * 5000}]", "{[a, b]: 1}", "a" * 5000])
def test_of_a_long_value_the_message_shows_the_beginning(project: Path, value: str) -> None:
    (line,) = errors(project, train__batch_size=value)
    assert len(line) < 200


def test_of_a_long_key_the_message_shows_the_beginning(folder: Path) -> None:
    Path("params.yaml").write_text(f"? {'a' * 5000}\n: 1\n? 0x{'f' * 5000}\n: 1\n? [a, b]\n: 1", "utf-8")
    with pytest.raises(BadInput) as caught:
        load_parameters(Path("params.yaml"))
    assert all(len(line) < 200 for line in str(caught.value).splitlines())


@pytest.mark.parametrize("processes", [1, 2, 16, 32])
def test_processes_that_divide_the_batch_are_valid(project: Path, processes: int) -> None:
    set_parameters(project, {"train.processes": str(processes)})
    assert load_parameters(Path("params.yaml")).train.processes == processes


def test_all_errors_are_reported_at_once(project: Path) -> None:
    lines = errors(project, train__epochs="0", train__dropout="2", benchmark__threads="no")
    assert [line.split(": ")[1] for line in lines] == ["train.epochs", "train.dropout", "benchmark.threads"]


def test_values_that_contradict_each_other_are_all_reported_at_once(project: Path) -> None:
    lines = errors(project, teach__schedule="constant", train__processes="7", train__schedule="constant")
    assert [line.split(": ")[1] for line in lines] == ["teach.warm_up", "train.warm_up", "train.processes"]


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("dataset.validation", "9", "expected 10 to 59990 of the 60000 training images, at least one per class, got 9"),
        ("dataset.validation", "59991", "expected 10 to 59990 of the 60000 training images, at least one per class, "
         "got 59991"),
        ("teach.batch_size", "55008", "expected at most 55007, the training images that remain, got 55008"),
        ("train.batch_size", "55008", "expected at most 55007, the training images that remain, got 55008"),
        ("quantize.calibration_samples", "60000", "expected at most 55007, the training images that remain, got 60000"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_the_number_of_images_gets_one_line(
    project: Path, key: str, value: str, line: str
) -> None:
    set_parameters(project, {key: value})
    with pytest.raises(BadInput) as caught:
        check_sizes(load_parameters(Path("params.yaml")), classes=10, train_images=60_000, added=7)
    assert str(caught.value) == f"params.yaml: {key}: {line}"


def test_several_views_without_augmentation_are_refused(project: Path) -> None:
    off = {f"augmentation__{name}": "0.0" for name in ("rotation", "zoom", "shear", "shift", "stroke", "flip", "fade")}
    assert errors(project, **off) == ["params.yaml: teach.views: expected 1 where all of augmentation is 0, got 8"]
    off |= {"augmentation__fade": "0.3", "teach__views": "1"}
    assert errors(project, **off) == [
        "params.yaml: augmentation.fade: expected 0 where all of rotation, zoom, shear, shift, stroke are 0, got 0.3"
    ]


def test_a_stroke_that_the_fade_makes_too_wide_is_refused(project: Path) -> None:
    assert errors(project, augmentation__stroke="0.8", augmentation__fade="0.5") == [
        "params.yaml: augmentation.stroke: expected at most 0.667, as augmentation.fade makes it larger in the first "
        "epoch, got 0.8"
    ]


def test_dropout_with_several_threads_is_refused(project: Path) -> None:
    assert errors(project, train__threads="2", train__dropout="0.2") == [
        "params.yaml: train.threads: expected 1 where train.dropout is not 0, as the order of the threads would change "
        "the random numbers, got 2"
    ]


@pytest.mark.parametrize(
    ("written", "changed", "expected"),
    [
        ("  dropout:", "  dropuot:", "params.yaml: train.dropuot: unknown key; did you mean dropout?"),
        ("quantize:", "quantise:", "params.yaml: quantise: unknown key; did you mean quantize?"),
        ("  dropout:", "  xyz:", "params.yaml: train.xyz: unknown key; remove it"),
    ],
)
def test_an_unknown_key_is_refused_and_the_nearest_known_one_is_named(
    project: Path, written: str, changed: str, expected: str
) -> None:
    file = project / "params.yaml"
    file.write_text(file.read_text("utf-8").replace(written, changed), "utf-8")
    lines = errors(project)
    missing = "train.dropout" if "dropout" in written else "quantize"
    assert lines == [f"params.yaml: {missing}: missing", expected]


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), ("1e-03", 0.001), ("0.001", 0.001), ("1e-3x", None), ("'0.001'", None)]
)
def test_a_float_is_read_as_dvc_reads_it(project: Path, text: str, value: float | None) -> None:
    set_parameters(project, {"train.learning_rate": text})
    if value is None:
        with pytest.raises(BadInput, match="train.learning_rate: input should be a valid number"):
            load_parameters(Path("params.yaml"))
    else:
        assert load_parameters(Path("params.yaml")).train.learning_rate == value


def test_the_file_is_yaml_1_2_so_010_is_ten_and_yes_is_a_string(project: Path) -> None:
    set_parameters(project, {"train.epochs": "010"})
    assert load_parameters(Path("params.yaml")).train.epochs == 10
    for text in ("yes", "no", "on", "12:30"):
        expected = f"params.yaml: train.epochs: input should be a valid integer, got '{text}'"
        assert errors(project, train__epochs=text) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: {epochs: 1}\ntrain: {epochs: 2}", 'line 2: found duplicate key "train"'),
        ("train:\n  epochs: 1\n  seed: 1\n  epochs: 2", 'line 4: found duplicate key "epochs"'),
        ("train: {epochs: 1", "line 1: "),
        ("a: &a [1]\nb: *a", "line 2: aliases are not allowed; write the value itself"),
        ("!!python/object/apply:os.system [exit]", "line 1: could not determine a constructor"),
        ("!!bool text", "not valid YAML ('text')"),
        ("[" * 100_000, "line 1: more than 10 levels"),
        ("- train", "expected the sections compute, dataset, augmentation, model, teach, train, evaluate, "),
        ("", "expected the sections compute, dataset, augmentation, model, teach, train, evaluate, "),
        ("\xff\x00", "not valid YAML ('utf-8' codec can't decode"),
        ("a: '\x00'", "not valid YAML (unacceptable character"),
        ('a: "\\UFFFFFFFF"', "not valid YAML ("),
        ('a: "\\uD800"', "line 1: found invalid Unicode character escape code"),
        ("{a:1}", "line 1: found unexpected ':'"),
        (f"a: {'9' * 5000}", "not valid YAML (Exceeds the limit"),
        ("a: " + "b" * 100_000, "cannot be read (larger than 100,000 bytes)"),
    ],
    ids=["key", "nested key", "brace", "alias", "object", "tag", "depth", "list", "empty", "binary", "control",
         "code point", "surrogate", "only ruamel's own parser reads it", "digits", "size"],
)  # fmt: skip
def test_an_unreadable_file_gets_one_line_with_the_number_of_the_line(folder: Path, text: str, message: str) -> None:
    Path("params.yaml").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput) as caught:
        load_parameters(Path("params.yaml"))
    assert str(caught.value).startswith(f"params.yaml: {message}")
    assert "\n" not in str(caught.value)


def test_a_missing_file_names_the_folder_to_run_in(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"^params.yaml: no such file; run from the project folder$"):
        load_parameters(Path("params.yaml"))


def test_a_folder_named_params_yaml_is_refused(folder: Path) -> None:
    Path("params.yaml").mkdir()
    with pytest.raises(BadInput, match=r"^params.yaml: cannot be read \(Is a directory\)$"):
        load_parameters(Path("params.yaml"))
