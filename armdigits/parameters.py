"""`params.yaml`, read strictly: every error at once, one line each, before any work is done."""

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from armdigits.errors import BadInput

# How many images each data set has. The test images of `digits` are a fifth of it, see `sources.digits`.
TRAIN_IMAGES = {"mnist": 60_000, "digits": 1_437}
TEST_IMAGES = {"mnist": 10_000, "digits": 360}


class Section(BaseModel):
    """A part of the file: exact types, no unknown keys, no finite number left out."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


Count = Annotated[int, Field(ge=1)]
Threads = Annotated[int, Field(ge=1, le=256)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Share = Annotated[float, Field(ge=0, le=1)]


class Dataset(Section):
    """Which images: everything that depends on them runs again when this section changes."""

    name: Literal["mnist", "digits"]
    validation: Count
    seed: Seed


class Augmentation(Section):
    """How far the training images are distorted, for the teacher and for the network alike."""

    rotation: Annotated[float, Field(ge=0, le=180)]
    zoom: Annotated[float, Field(ge=0, le=1)]
    shear: Annotated[float, Field(ge=0, le=1)]
    shift: Annotated[float, Field(ge=0, le=28)]

    def is_on(self) -> bool:
        """Whether anything is distorted at all."""
        return any(self.model_dump().values())


class Recipe(Section):
    """How a network is trained with Adam (D. Kingma, J. Ba, 2015)."""

    epochs: Annotated[int, Field(ge=1, le=10_000)]
    batch_size: Count
    learning_rate: Annotated[float, Field(gt=0, le=1)]
    schedule: Literal["one_cycle", "constant"]
    warm_up: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
    threads: Threads


class Teach(Recipe):
    """The recipe of the teacher, and how it is asked."""

    views: Annotated[int, Field(ge=1, le=1000)]


class Train(Recipe):
    """The recipe of the network."""

    dropout: Annotated[float, Field(ge=0, lt=1)]
    teacher_weight: Share
    temperature: Annotated[float, Field(ge=0.1, le=100)]
    processes: Annotated[int, Field(ge=1, le=4096)]
    device: Literal["cpu", "cuda", "mps", "auto"]


class Evaluate(Section):
    """The gate on the fp32 network and the size of its picture."""

    min_accuracy: Share
    misclassified: Annotated[int, Field(ge=1, le=400)]


class Quantize(Section):
    """The int8 program and its gate."""

    calibration_samples: Count
    max_batch: Annotated[int, Field(ge=1, le=65_536)]
    max_accuracy_drop: Annotated[float, Field(ge=-1, le=1)]


class Benchmark(Section):
    """What is timed, and how long."""

    batch_sizes: Annotated[list[Count], Field(min_length=1, max_length=16)]
    rounds: Annotated[int, Field(ge=8, le=100_000)]
    calls: Annotated[int, Field(ge=8, le=100_000)]
    max_ratio: Annotated[float, Field(gt=0, le=100)]
    threads: Threads
    seed: Seed


class Parameters(Section):
    """All of `params.yaml`."""

    dataset: Dataset
    augmentation: Augmentation
    teach: Teach
    train: Train
    evaluate: Evaluate
    quantize: Quantize
    benchmark: Benchmark

    @model_validator(mode="after")
    def values_fit_each_other(self) -> "Parameters":
        """Find values that are possible alone and impossible together."""
        total = TRAIN_IMAGES[self.dataset.name]
        left = total - self.dataset.validation
        sizes = self.benchmark.batch_sizes
        problems = []

        def refuse(key: str, expected: str, got: object) -> None:
            problems.append(f"{key}: expected {expected}, got {got}")

        if not 10 <= self.dataset.validation <= total - 10:
            room = f"10 to {total - 10} of the {total} training images of {self.dataset.name}, one a class"
            refuse("dataset.validation", room, self.dataset.validation)
        else:
            for key, value in (
                ("teach.batch_size", self.teach.batch_size),
                ("train.batch_size", self.train.batch_size),
                ("quantize.calibration_samples", self.quantize.calibration_samples),
            ):
                if value > left:
                    refuse(key, f"at most the {left} images that are left to train on", value)
        # A value without an effect is refused: a diff of parameters would show a difference that is none.
        for name, recipe in (("teach", self.teach), ("train", self.train)):
            if recipe.schedule == "constant" and recipe.warm_up:
                refuse(f"{name}.warm_up", f"0 where {name}.schedule is constant", recipe.warm_up)
        if self.teach.views > 1 and not self.augmentation.is_on():
            refuse("teach.views", "1 where augmentation distorts nothing", self.teach.views)
        if self.train.teacher_weight == 0 and self.train.temperature != 1:
            refuse("train.temperature", "1 where train.teacher_weight is 0", self.train.temperature)
        if self.train.processes > self.train.batch_size:
            room = f"at most train.batch_size ({self.train.batch_size}), an image for each"
            refuse("train.processes", room, self.train.processes)
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


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader, which refuses what DVC's YAML 1.2 reader would read otherwise, and duplicate keys.

    PyYAML follows YAML 1.1: `010` is 8 there and 10 in YAML 1.2, `12:30` is 750 there and text in YAML 1.2.
    """

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if not re.fullmatch(r"[-+]?(0|[1-9][0-9]*)", node.value):
            raise yaml.constructor.ConstructorError(
                problem=f"write the number {node.value} in plain decimal digits", problem_mark=node.start_mark
            )
        return int(node.value)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                mark = node.value[position][0].start_mark
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key} stands here a second time", problem_mark=mark
                )
        return super().construct_mapping(node, deep)


_StrictLoader.add_constructor("tag:yaml.org,2002:int", _StrictLoader.construct_yaml_int)


def load_parameters(path: Path) -> Parameters:
    """Read and check the whole file.

    Raises:
        BadInput: one line for each thing that is wrong, as `params.yaml: train.epochs: expected ..., got ...`.
    """
    try:
        content = yaml.load(path.read_bytes(), _StrictLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file here; run from the project's folder") from None
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, ValueError) as error:
        raise BadInput(f"{path}: {_yaml_problem(error)}") from None
    if not isinstance(content, dict):
        raise BadInput(f"{path}: expected sections ({', '.join(Parameters.model_fields)}), got {_show(content)}")
    try:
        return Parameters.model_validate(content)
    except ValidationError as error:
        lines = [line for problem in error.errors() for line in _lines(problem)]
        raise BadInput(*(f"{path}: {line}" for line in lines)) from None


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark else ""
    return where + (getattr(error, "problem", None) or str(error).splitlines()[0])


def _show(value: object) -> str:
    """A value as the user wrote it, with its type where that is the surprise."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        number = re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+", value)
        hint = f" (write {float(value):.10f}".rstrip("0") + ")" if number else ""
        return f"the text '{value}'{hint}"
    if isinstance(value, dict):
        return "a section"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lines(problem: dict[str, Any]) -> list[str]:
    """One of pydantic's errors in the words of the user, most often one line."""
    key = ".".join(str(part) for part in problem["loc"])
    kind, got = problem["type"], problem["input"]
    if kind == "value_error":
        return str(problem["ctx"]["error"]).splitlines()
    if kind == "extra_forbidden":
        return [f"{key}: unknown key{_nearest(problem['loc'])}"]
    if kind == "missing":
        return [f"{key}: missing; add it, {_expected(problem['loc'])}"]
    if kind == "literal_error":
        return [f"{key}: expected {problem['ctx']['expected'].replace(chr(39), '')}, got {_show(got)}"]
    return [f"{key}: expected {_expected(problem['loc'])}, got {_show(got)}"]


def _section(location: tuple[str | int, ...]) -> type[Section]:
    """The section that holds the key at `location`."""
    model: type[Section] = Parameters
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, Section):
            break
        model = field.annotation
    return model


def _nearest(location: tuple[str | int, ...]) -> str:
    known = list(_section(location).model_fields)
    near = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(known)}"


def _expected(location: tuple[str | int, ...]) -> str:
    """What may stand at `location`, from the JSON schema that pydantic derives from the field."""
    names = [part for part in location if isinstance(part, str)]
    schema = _section(tuple(names)).model_json_schema()["properties"].get(names[-1], {})
    if isinstance(location[-1], int):
        schema = schema.get("items", {})
    nouns = {"integer": "a whole number", "number": "a number", "array": "a list", "string": "text"}
    noun = nouns.get(schema.get("type", ""), "a section")
    if "enum" in schema:
        return " or ".join(schema["enum"])
    limits = (
        ("minimum", "of at least"),
        ("exclusiveMinimum", "above"),
        ("maximum", "of at most"),
        ("exclusiveMaximum", "below"),
        ("minItems", "of at least"),
        ("maxItems", "of at most"),
    )
    return f"{noun} {' and '.join(f'{words} {schema[name]}' for name, words in limits if name in schema)}".strip()
