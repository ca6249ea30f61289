"""`params.yaml`, validated before any work is done: all errors at once, one line each."""

import difflib
import shlex
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, Event

from armdigits.core import files, paths
from armdigits.core.errors import BadInput
from armdigits.core.shape import MAX_SIDE, MIN_SIDE, Shape

MAX_BYTES = 100_000
MAX_DEPTH = 10  # libyaml crashes at some 10,000; the file has two levels
MAX_CHARS = 80  # of a value in a message


class Section(BaseModel):
    """A part of the file: exact types, no unknown keys, finite numbers only."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


Count = Annotated[int, Field(ge=1, le=1_000_000_000)]
Name = Annotated[str, Field(max_length=80)]
Threads = Annotated[int, Field(ge=1, le=256)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0, le=1)]
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE)]


class Dataset(Section):
    """The images. `preflight` checks the name and the path, see armdigits/data/registry.py."""

    name: Name
    path: Annotated[str, Field(min_length=1, max_length=4096)] | None
    reading: Literal["ink", "photo"]
    channels: Literal[1, 3]
    height: Side
    width: Side
    validation: Count
    seed: Seed

    @property
    def shape(self) -> Shape:
        """Of an image."""
        return self.channels, self.height, self.width


class Augmentation(Section):
    """The ranges of the random changes of the training images, for the teacher and for the model."""

    rotation: Annotated[float, Field(ge=0, le=180)]
    zoom: Annotated[float, Field(ge=0, le=1)]
    shear: Annotated[float, Field(ge=0, le=1)]
    shift: Annotated[float, Field(ge=0, le=MAX_SIDE)]
    stroke: Annotated[float, Field(ge=0, le=1)]
    flip: Annotated[float, Field(ge=0, le=0.5)]
    fade: Share

    def ranges(self) -> dict[str, float]:
        """The ranges by name, to which `fade` applies."""
        return self.model_dump(exclude={"flip", "fade"})

    def is_on(self) -> bool:
        """Whether any image is changed."""
        return bool(self.flip) or any(self.ranges().values())

    def in_epoch(self, epoch: int, epochs: int) -> "Augmentation":
        """The ranges of an epoch, from 1: 1 + `fade` times these in the first epoch, 1 - `fade` times in the last."""
        progress = (epoch - 1) / (epochs - 1) if epochs > 1 else 0.5
        factor = 1 + self.fade * (1 - 2 * progress)
        return self.model_copy(update={name: factor * value for name, value in self.ranges().items()})

    def largest(self) -> "Augmentation":
        """The ranges of the first epoch."""
        return self.in_epoch(1, epochs=2)


class Compute(Section):
    """What the stages compute on, and with which of a CPU's instructions (core/cpu.py)."""

    device: Literal["cpu", "cuda", "mps", "auto"]
    instructions: Literal["avx2", "native"]


class Model(Section):
    """The network."""

    name: Name  # one of those in armdigits/models/networks.py, which this file must not import; preflight checks it


class Recipe(Section):
    """A training. The optimizer is Adam (D. Kingma, J. Ba, 2015), unless the model's recipe has another one."""

    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Count
    learning_rate: Annotated[float, Field(gt=0, le=10)]
    schedule: Literal["one_cycle", "constant"]
    warm_up: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    threads: Threads


class Teach(Recipe):
    """The teacher's training, and the number of views for its logits."""

    views: Annotated[int, Field(ge=1, le=1000)]


class Train(Recipe):
    """The model's training."""

    optimizer: Literal["adam", "adamw", "sgd"]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    centre: bool
    first_layer_scale: Annotated[float, Field(gt=0, le=100)]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    teacher_weight: Share
    temperature: Annotated[float, Field(ge=0.1, le=100)]
    processes: Annotated[int, Field(ge=1, le=4096)]


class Evaluate(Section):
    """The gate on the fp32 model, and the size of the figure of its mistakes."""

    min_accuracy: Share
    misclassified: Annotated[int, Field(ge=1, le=400)]


class Quantize(Section):
    """The int8 program and its gate."""

    calibration_samples: Count
    max_batch: Annotated[int, Field(ge=1, le=65_536)]
    max_accuracy_drop: Annotated[float, Field(ge=-1, le=1)]


class Export(Section):
    """The targets of the C program whose figures are metrics. `preflight` checks the names."""

    targets: Annotated[list[Name], Field(min_length=1, max_length=16)]


class Benchmark(Section):
    """What is timed, and how often."""

    batch_sizes: Annotated[list[Count], Field(min_length=1, max_length=16)]
    rounds: Annotated[int, Field(ge=8, le=100_000)]
    seconds: Annotated[float, Field(gt=0, le=86_400)]
    calls: Annotated[int, Field(ge=8, le=100_000)]
    max_ratio: Annotated[float, Field(gt=0, le=100)]
    threads: Threads
    seed: Seed


class Parameters(Section):
    """All of `params.yaml`."""

    compute: Compute
    dataset: Dataset
    augmentation: Augmentation
    model: Model
    teach: Teach
    train: Train
    evaluate: Evaluate
    quantize: Quantize
    export: Export
    benchmark: Benchmark

    @model_validator(mode="after")
    def check_combinations(self) -> "Parameters":
        """Reject values that are valid on their own but contradict each other or have no effect."""
        sizes = self.benchmark.batch_sizes
        problems = []

        def refuse(key: str, expected: str, got: object) -> None:
            problems.append(f"{key}: expected {expected}, got {got}")

        if self.dataset.reading == "ink" and self.dataset.channels != 1:
            refuse("dataset.channels", "1 where dataset.reading is ink", self.dataset.channels)
        # A value without effect would show up in `dvc params diff` as if it mattered.
        for name, recipe in (("teach", self.teach), ("train", self.train)):
            if recipe.schedule == "constant" and recipe.warm_up:
                refuse(f"{name}.warm_up", f"0 where {name}.schedule is constant", recipe.warm_up)
        if self.augmentation.fade and not any(self.augmentation.ranges().values()):
            ranges = ", ".join(self.augmentation.ranges())
            refuse("augmentation.fade", f"0 where all of {ranges} are 0", self.augmentation.fade)
        if self.augmentation.largest().stroke > 1:
            limit = f"at most {1 / (1 + self.augmentation.fade):.3g}"
            why = "as augmentation.fade makes it larger in the first epoch"
            refuse("augmentation.stroke", f"{limit}, {why}", self.augmentation.stroke)
        if self.train.optimizer == "adam" and self.train.weight_decay:
            refuse("train.weight_decay", "0 where train.optimizer is adam", self.train.weight_decay)
        if self.train.optimizer != "sgd" and self.train.momentum:
            refuse("train.momentum", f"0 where train.optimizer is {self.train.optimizer}", self.train.momentum)
        if self.train.threads > 1 and self.train.dropout:
            alone = "1 where train.dropout is not 0, as the order of the threads would change the random numbers"
            refuse("train.threads", alone, self.train.threads)
        if self.teach.views > 1 and not self.augmentation.is_on():
            refuse("teach.views", "1 where all of augmentation is 0", self.teach.views)
        if self.train.teacher_weight == 0 and self.train.temperature != 1:
            refuse("train.temperature", "1 where train.teacher_weight is 0", self.train.temperature)
        if self.train.batch_size % self.train.processes:
            divisor = f"a divisor of train.batch_size ({self.train.batch_size}), for equal shares of a batch"
            refuse("train.processes", divisor, self.train.processes)
        targets = self.export.targets
        if len(set(targets)) != len(targets):
            refuse("export.targets", "each target once", targets)
        if len(set(sizes)) != len(sizes):
            refuse("benchmark.batch_sizes", "each size once", sizes)
        if 1 not in sizes:
            refuse("benchmark.batch_sizes", "size 1 among them (the results table shows it)", sizes)
        if max(sizes) > self.quantize.max_batch:
            room = f"at most quantize.max_batch ({self.quantize.max_batch})"
            refuse("benchmark.batch_sizes", room, max(sizes))
        if problems:
            raise ValueError("\n".join(problems))
        return self


def load_parameters(path: Path) -> Parameters:
    """Read and validate the file (YAML 1.2). What DVC cannot read is refused.

    Raises:
        BadInput: one line for each error, as `params.yaml: train.epochs: input should be ..., got ...`.
    """
    try:
        return parse_parameters(files.read_limited(path, MAX_BYTES), path)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file; run from the project folder") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None


def parse_parameters(text: bytes, path: Path) -> Parameters:
    """The same, for the text of the file; `path` is named in errors."""
    try:
        content = _load(text.decode())
    except Exception as error:  # ruamel raises many kinds
        raise BadInput(f"{path}: {_yaml_problem(error)}") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path}: expected the sections {', '.join(Parameters.model_fields)}")
    try:
        return Parameters.model_validate(content)
    except ValidationError as error:
        raise BadInput(*(f"{path}: {line}" for problem in error.errors() for line in _lines(problem))) from None


def check_sizes(parameters: Parameters, classes: int, train_images: int, added: int = 0) -> None:
    """Check the values that must fit the data set.

    Args:
        parameters: valid in themselves.
        classes: the number of classes.
        train_images: the number of images from which the validation images are taken.
        added: the number of training images besides these.

    Raises:
        BadInput: a line for each value that does not fit.
    """
    validation = parameters.dataset.validation
    room = f"{classes} to {train_images - classes} of the {train_images} training images, at least one per class"
    left = train_images - validation + added
    lines = []
    if not classes <= validation <= train_images - classes:
        lines.append(f"dataset.validation: expected {room}, got {validation}")
    else:
        lines += [
            f"{key}: expected at most {left}, the training images that remain, got {value}"
            for key, value in (
                ("teach.batch_size", parameters.teach.batch_size),
                ("train.batch_size", parameters.train.batch_size),
                ("quantize.calibration_samples", parameters.quantize.calibration_samples),
            )
            if value > left
        ]
    if lines and parameters.dataset.path:
        command = shlex.join(["armdigits", "dataset", parameters.dataset.name, parameters.dataset.path])
        lines.append(f"to fit these values to the images, run: {command}")
    if lines:
        raise BadInput(*(f"{paths.PARAMETERS}: {line}" for line in lines))


def _load(text: str) -> object:
    """The content, read with both parsers of DVC: ruamel's own for `dvc exp run -S`, libyaml for all else.

    An alias can make a short file a huge one, so none is allowed.
    """
    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if isinstance(event, AliasEvent):
            raise _refused(event, "aliases are not allowed; write the value itself")
        if depth > MAX_DEPTH:
            raise _refused(event, f"more than {MAX_DEPTH} levels")
    return YAML(typ="safe").load(text)


def _refused(event: Event, problem: str) -> MarkedYAMLError:
    return MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


def _yaml_problem(error: Exception) -> str:
    """The reason in one line, with the line number where ruamel reports one."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark and error.problem:
        return _short(f"line {error.problem_mark.line + 1}: {error.problem}")
    return f"not valid YAML ({_short((str(error) or type(error).__name__).splitlines()[0])})"


def _short(text: str) -> str:
    return text if len(text) <= MAX_CHARS else f"{text[:MAX_CHARS]}..."


def _shown(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    try:
        return _short(repr(value))
    except ValueError:
        return "an integer of thousands of digits"


def _lines(problem: ErrorDetails) -> list[str]:
    """One of pydantic's errors: a line, or the lines of `check_combinations`."""
    *section, name = [_short(str(part)) for part in problem["loc"]] or [""]
    key = ".".join([*section, name])
    match problem["type"]:
        case "value_error":
            return str(problem["ctx"]["error"]).splitlines()
        case "extra_forbidden":
            near = difflib.get_close_matches(name, _keys(section), n=1)
            return [f"{key}: unknown key; " + (f"did you mean {near[0]}?" if near else "remove it")]
        case "missing":
            return [f"{key}: missing"]
    got = "a section" if isinstance(problem["input"], dict) else _shown(problem["input"])
    return [f"{key}: {problem['msg'][0].lower()}{problem['msg'][1:]}, got {got}"]


def _keys(section: list[str]) -> list[str]:
    """The keys of the file's top level, or of a section."""
    model = Parameters.model_fields[section[0]].annotation if section else Parameters
    return list(getattr(model, "model_fields", {}))
