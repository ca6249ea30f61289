"""What the stages write for each other, for the commands and for DVC: for each record a model that writes and reads it.

A record has the entries of its model and no others, its types are exact and its numbers finite. A record that another
version of the project wrote is refused in one line with the stage to run. Where the names of entries follow from the
data or from the targets, the model has a dictionary, or further entries of one type.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel, ValidationError

from armdigits.core import files, paths
from armdigits.core.errors import BadInput
from armdigits.core.shape import MAX_SIDE, MIN_SIDE

MAX_BYTES = 2**26  # of a JSON file
MAX_TABLE_BYTES = 2**22  # a row takes a hundred times its size in memory
Share = Annotated[float, Field(ge=0, le=1)]
Scalar = bool | Annotated[int, Field(ge=-(2**63), lt=2**63)] | float | str | None
Content = TypeVar("Content", bound=BaseModel)
Entry = TypeVar("Entry")
Side = Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE)]
ImageShape = tuple[Literal[1, 3], Side, Side]
Reading = Literal["ink", "photo"]


class Record(BaseModel):
    """A record, or a part of one."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    def content(self) -> dict[str, Any]:
        """The entries for the file: those that were given."""
        return self.model_dump(by_alias=True, exclude_unset=True)


def write(path: Path, record: Record) -> None:
    """Write a record as JSON."""
    files.write_json(path, record.content())


def read(path: Path, model: type[Content], stage: str) -> Content:
    """Read a record that `stage` writes.

    Raises:
        BadInput: the file is missing, unreadable or something else; the message names the stage to run.
    """
    content = files.read_bytes(path, stage, MAX_BYTES)
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        raise BadInput(f"{path}: {problem(error)}; run: dvc repro --force {stage}") from None


def write_table(path: Path, model: type[Record], rows: Iterable[Record]) -> None:
    """Write records as CSV, with a header line."""
    files.write_csv(path, list(model.model_fields), [list(row.content().values()) for row in rows])


def read_table(path: Path, model: type[Content], stage: str) -> list[Content]:
    """Read a table that `stage` writes; at least one row.

    Raises:
        BadInput: as `read`.
    """
    content = files.read_bytes(path, stage, MAX_TABLE_BYTES)
    try:
        return parse_table(content, model)
    except ValueError as error:
        raise BadInput(f"{path}: {error}; run: dvc repro --force {stage}") from None


def parse_table(content: bytes, model: type[Content]) -> list[Content]:
    """The rows of a CSV file; ValueError with the reason where it is something else."""
    try:
        lines = list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))
        header = lines.pop(0) if lines else []
        if any(len(line) != len(header) for line in lines):
            raise ValueError("a row has more or fewer cells than the header")
        rows = [model.model_validate_strings(dict(zip(header, line, strict=True))) for line in lines]
    except ValidationError as error:
        raise ValueError(problem(error)) from None
    except csv.Error as error:
        raise ValueError(f"not a table ({error})") from None
    if not rows:
        raise ValueError("no rows")
    return rows


def problem(error: ValidationError) -> str:
    """The first error in one line."""
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))[:80]
    match first["type"]:
        case "json_invalid":
            return f"not valid JSON ({first['msg'].removeprefix('Invalid JSON: ')})"
        case "missing":
            return f"has no entry {key}"
        case "extra_forbidden":
            return f"has an unknown entry {key!r}"
    reason = first["msg"][0].lower() + first["msg"][1:]
    return f"{key}: {reason}" if key else reason


def _entry(entries: Mapping[str, Entry], path: Path, record: Path, stage: str) -> Entry:
    """The entry for the file `path`."""
    if path.name not in entries:
        raise BadInput(f"{record}: has no entry {path.name}; run: dvc repro --force {stage}")
    return entries[path.name]


class SplitFile(Record):
    """A file of images."""

    images: int
    images_of_class: list[int]
    sha256: str


class Provenance(Record):
    """data/provenance.json: the data set, and its files. `sha256` is that of the other entries."""

    format: Literal[2]
    name: str
    shape: ImageShape
    reading: Reading
    classes: Annotated[list[str], Field(min_length=1)]
    source: dict[str, str]
    files: dict[str, SplitFile]
    left_out: list[str]
    sha256: str

    def of(self, path: Path) -> SplitFile:
        """The entry of a file of images."""
        return _entry(self.files, path, paths.PROVENANCE, "download")


class Checkpoint(Record):
    """The record inside a checkpoint or a file of teacher logits."""

    format: Literal[3]
    network: str | None
    shape: ImageShape
    train_data_sha256: str
    settings: dict[str, Any] | None
    weights_sha256: str


class Epoch(Record):
    """A row of metrics/history.csv. Losses are cross-entropies with the labels in nats, accuracies shares of images.

    `train_loss` is the mean over the epoch's images, with augmentation and dropout, before each update; the validation
    figures are computed after the epoch, without either.
    """

    epoch: int
    train_loss: float
    validation_loss: float
    validation_accuracy: Share

    def line(self, epochs: int) -> str:
        """The epoch as a line of the log."""
        return (
            f"epoch {self.epoch:2}/{epochs}  train loss {self.train_loss:.4f}  "
            f"validation loss {self.validation_loss:.4f}  accuracy {self.validation_accuracy:.2%}"
        )


class Snapshot(Record):
    """The record inside a snapshot."""

    fingerprint: dict[str, str]
    history: list[Epoch]


class TeacherFigures(Record):
    """The teacher."""

    parameters: int
    validation_loss: float
    validation_accuracy: Share


class TeachDetails(Record):
    """metrics/teach-details.json. There is no teacher where `train.teacher_weight` is 0."""

    dataset: str
    teacher: TeacherFigures | None


class TrainMetrics(Record):
    """metrics/train.json."""

    dataset: str
    parameters: int
    train_loss: float
    validation_loss: float
    validation_accuracy: Share


class TrainDetails(Record):
    """metrics/train-details.json. `bytes`: the size of the checkpoint."""

    bytes: int
    epochs: int


class EvaluateMetrics(Record):
    """metrics/evaluate.json."""

    accuracy: Share
    loss: float
    macro_f1: Share


class ClassScores(Record):
    """The scores of one class."""

    precision: Share
    recall: Share
    f1: Share


class EvaluateDetails(Record):
    """metrics/evaluate-details.json."""

    dataset: str
    test_images: int
    calibration_error: float
    macro_precision: Share
    macro_recall: Share
    classes: Annotated[dict[str, ClassScores], Field(min_length=1)]


class Prediction(Record):
    """A row of metrics/predictions.csv: the names of two classes."""

    actual: str
    predicted: str


class Programs(Record):
    """models/programs.json."""

    format: Literal[2]
    weights_sha256: str
    programs_sha256: dict[str, str]
    shape: ImageShape
    reading: Reading
    classes: Annotated[list[str], Field(min_length=1)]

    def can_be_drawn(self) -> bool:
        """Whether the images suit the page to draw on: square ones of ink."""
        _, height, width = self.shape
        return self.reading == "ink" and height == width

    def digest(self, path: Path) -> str:
        """The SHA-256 of a program."""
        return _entry(self.programs_sha256, path, paths.PROGRAM_RECORD, "quantize")


class Fp32Metrics(Record):
    """The fp32 program."""

    accuracy: Share


class Int8Metrics(Record):
    """The int8 program."""

    accuracy: Share
    bytes: Annotated[int, Field(ge=1)]


class QuantizeMetrics(Record):
    """metrics/quantize.json."""

    fp32: Fp32Metrics
    int8: Int8Metrics
    agreement: Share


class ProgramDetails(Record):
    """One program."""

    calibration_error: float
    bytes: Annotated[int, Field(ge=1)]


class Disagreements(Record):
    """McNemar's test on the images that the programs classify differently."""

    count: int
    fp32_right: int
    int8_right: int
    p_value: float


class LayerNoise(Record):
    """The signal-to-quantization-noise ratio after a layer; None where there is no noise or no signal."""

    sqnr_db: float | None


class QuantizeDetails(Record):
    """metrics/quantize-details.json. Where a proof fails, it has the proofs only."""

    dataset: str
    proofs: dict[str, dict[str, bool]]
    programs: dict[str, ProgramDetails] = {}
    accuracy_drop: float | None = None
    disagreements: Disagreements | None = None
    layers: dict[str, LayerNoise] = {}

    def program(self, path: Path) -> ProgramDetails:
        """The entry of a program."""
        return _entry(self.programs, path, paths.QUANTIZE_DETAILS, "quantize")


class TargetMetrics(Record):
    """The C program on one target: bytes of flash and of RAM, and instructions for an image."""

    bytes: int
    ram: int
    instructions: int


class ExportMetrics(Record):
    """metrics/export.json. Its further entries are those of `export.targets` that ran."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, TargetMetrics]

    equal_logits: int

    def targets(self) -> dict[str, TargetMetrics]:
        """The targets by name."""
        return self.__pydantic_extra__


class TargetDetails(Record):
    """The C program on one target; sizes and mean and largest number of instructions where an emulator counts them."""

    compared: int
    equal: int
    code_bytes: int = 0
    constant_bytes: int = 0
    stack_bytes: int = 0
    instructions: int = 0
    max_instructions: int = 0


class ExportDetails(Record):
    """metrics/export-details.json. Its further entries are the targets."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, TargetDetails]

    dataset: str
    program_sha256: str
    sources_sha256: dict[str, str]
    source_bytes: int
    compared: int
    left_out: dict[str, str]

    def emulated(self) -> dict[str, TargetDetails]:
        """The targets on which instructions were counted, by name."""
        return {name: target for name, target in self.__pydantic_extra__.items() if target.instructions}

    def content(self) -> dict[str, Any]:
        """The entries for the file, the targets before those that were left out."""
        content = super().content()
        return content | {"left_out": content.pop("left_out")}

    def digest(self, path: Path) -> str:
        """The SHA-256 of a file of the C source."""
        return _entry(self.sources_sha256, path, paths.EXPORT_DETAILS, "export")


class Machine(Record):
    """A machine and its software."""

    cpu: str
    arch: str
    features: str
    cores: int
    system: str
    python: str
    torch: str
    executorch: str
    torchao: str


class Host(Machine):
    """metrics/host.json. `bits`: on which machines the results are the same to the bit."""

    bits: str


class TeacherNeed(Record):
    """metrics/teacher.json."""

    needed: bool


class BenchmarkHost(Machine):
    """The machine of the timings, and its state."""

    kernel: str
    load: float
    threads: int


class Timing(Record):
    """The calls of one variant."""

    p50_us: Annotated[float, Field(gt=0)]
    p90_us: Annotated[float, Field(gt=0)]
    p99_us: Annotated[float, Field(gt=0)]
    images_per_s: float
    calls: int
    p90_indicative: bool
    p99_indicative: bool


class Ratio(Record):
    """The time of one variant over that of another, with a 95 % interval."""

    ratio: Annotated[float, Field(gt=0)]
    low: Annotated[float, Field(gt=0)]
    high: Annotated[float, Field(gt=0)]


class Batch(Record):
    """The variants at one batch size, their ratios, and whether the control's interval misses 1."""

    eager: Timing
    fp32: Timing
    int8: Timing
    c: Timing
    c_no_zeros: Timing
    int8_checked: Timing
    int8_view: Timing
    empty_call: Timing
    int8_over_fp32: Ratio
    int8_over_eager: Ratio
    fp32_over_eager: Ratio
    c_over_int8: Ratio
    c_over_eager: Ratio
    c_no_zeros_over_int8: Ratio
    int8_checked_over_eager: Ratio
    int8_view_over_int8: Ratio
    control: Ratio
    noisy: bool

    def timings(self) -> dict[str, Timing]:
        """The variants by name."""
        return {name: value for name, value in self if isinstance(value, Timing)}

    def ratios(self) -> dict[str, Ratio]:
        """The ratios by name."""
        return {name: value for name, value in self if isinstance(value, Ratio)}


class BenchmarkDetails(Record):
    """metrics/benchmark-details.json. Its further entries are the other batch sizes."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Batch]

    dataset: str
    host: BenchmarkHost
    batch_1: Batch

    def batches(self) -> dict[str, Batch]:
        """The batch sizes by name, as batch_32."""
        return {"batch_1": self.batch_1, **self.__pydantic_extra__}


class Metrics(RootModel[dict[str, "Metrics | Scalar | list[Scalar]"]]):
    """Metrics or parameters as DVC shows them, also of another version: values under names, in sections."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False)

    def flat(self, prefix: str = "") -> dict[str, Any]:
        """{"int8": {"bytes": 1}} as {"int8.bytes": 1}."""
        values: dict[str, Any] = {}
        for key, value in self.root.items():
            values |= value.flat(f"{prefix}{key}.") if isinstance(value, Metrics) else {f"{prefix}{key}": value}
        return values
