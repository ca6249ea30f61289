import json
from pathlib import Path

import pytest

from armdigits.core import files, paths, records
from armdigits.core.errors import BadInput

RECORDS = {
    paths.PROVENANCE: records.Provenance,
    paths.TEACH_DETAILS: records.TeachDetails,
    paths.TRAIN_METRICS: records.TrainMetrics,
    paths.TRAIN_DETAILS: records.TrainDetails,
    paths.EVALUATE_METRICS: records.EvaluateMetrics,
    paths.EVALUATE_DETAILS: records.EvaluateDetails,
    paths.PROGRAM_RECORD: records.Programs,
    paths.QUANTIZE_METRICS: records.QuantizeMetrics,
    paths.QUANTIZE_DETAILS: records.QuantizeDetails,
    paths.EXPORT_METRICS: records.ExportMetrics,
    paths.EXPORT_DETAILS: records.ExportDetails,
    paths.BENCHMARK_DETAILS: records.BenchmarkDetails,
}
LOSSES = '"parameters": 30, "train_loss": 0.1, "validation_loss": 0.2, "validation_accuracy": 0.9'


def test_every_record_of_a_run_is_written_again_byte_for_byte(pipeline: Path, folder: Path) -> None:
    for path, model in RECORDS.items():
        records.write(folder / path, records.read(pipeline / path, model, "train"))
        assert (folder / path).read_bytes() == (pipeline / path).read_bytes(), path
    for path, row in ((paths.HISTORY, records.Epoch), (paths.PREDICTIONS, records.Prediction)):
        records.write_table(folder / path, row, records.read_table(pipeline / path, row, "train"))
        assert (folder / path).read_bytes() == (pipeline / path).read_bytes(), path


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "not valid JSON (EOF while parsing an object at line 1 column 1)"),
        ("\xff", "not valid JSON (expected value at line 1 column 1)"),
        ("[" * 100_000, "not valid JSON (recursion limit exceeded at line 1 column 202)"),
        (f'{{"dataset": {"9" * 5000}}}', "not valid JSON (number out of range at line 1 column 4314)"),
        ("[]", "input should be an object"),
        ('{"dataset": 1, ' + LOSSES + "}", "dataset: input should be a valid string"),
        ('{"dataset": "a", ' + LOSSES.replace("0.1", "NaN") + "}", "train_loss: input should be a finite number"),
        ('{"dataset": "a", ' + LOSSES.replace("0.1", "1e999") + "}", "train_loss: input should be a finite number"),
        ('{"dataset": "a", ' + LOSSES.replace("30", "true") + "}", "parameters: input should be a valid integer"),
        ("{" + LOSSES + "}", "has no entry dataset"),
        ('{"dataset": "a", "new": 1, ' + LOSSES + "}", "has an unknown entry 'new'"),
        ('{"dataset": "a", "' + "b" * 5000 + '": 1, ' + LOSSES + "}", f"has an unknown entry '{'b' * 80}'"),
    ],
    ids=["cut", "binary", "deep", "digits", "list", "type", "nan", "infinite", "bool", "older", "newer", "long"],
)
def test_another_record_is_refused_in_one_line_with_the_stage_to_run(folder: Path, content: str, reason: str) -> None:
    Path("x.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(BadInput) as caught:
        records.read(Path("x.json"), records.TrainMetrics, "train")
    assert str(caught.value) == f"x.json: {reason}; run: dvc repro --force train"


def test_a_missing_entry_is_named_with_its_section(folder: Path) -> None:
    files.write_json(Path("x.json"), {"int8": {"bytes": 1}, "fp32": {"accuracy": 0.9}, "agreement": 1.0})
    with pytest.raises(BadInput, match=r"^x.json: has no entry int8.accuracy; run: dvc repro --force quantize$"):
        records.read(Path("x.json"), records.QuantizeMetrics, "quantize")


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="finite number"):
        records.Epoch(epoch=1, train_loss=float("nan"), validation_loss=0.1, validation_accuracy=0.9)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "no rows"),
        ("actual,predicted\n", "no rows"),
        ("actual,predicted\n1\n", "a row has more or fewer cells than the header"),
        ("actual,predicted\n1,2,3\n", "a row has more or fewer cells than the header"),
        ("actual,predicted\n1\r2,3\n", "a row has more or fewer cells than the header"),
        ("actual\n1\n", "has no entry predicted"),
        ('actual,predicted\n"1"2,3\n', "not a table (',' expected after '\"')"),
        ("actual,predicted\n1," + "2" * 200_000, "not a table (field larger than field limit (131072))"),
        ("actual,predicted\n\xff,1\n", "'utf-8' codec can't decode byte 0xff in position 17: invalid start byte"),
    ],
    ids=["empty", "no rows", "short", "long", "carriage return", "column", "quote", "field", "binary"],
)
def test_another_table_is_refused_in_one_line_with_the_stage_to_run(folder: Path, content: str, reason: str) -> None:
    Path("x.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(BadInput) as caught:
        records.read_table(Path("x.csv"), records.Prediction, "evaluate")
    assert str(caught.value) == f"x.csv: {reason}; run: dvc repro --force evaluate"


@pytest.mark.parametrize("loss", ["nan", "1e999", "x", "", "9" * 5000])
def test_a_number_in_a_table_is_finite(loss: str) -> None:
    header = ",".join(records.Epoch.model_fields)
    with pytest.raises(ValueError, match="^train_loss: input should be a"):
        records.parse_table(f"{header}\n1,{loss},0.5,0.9\n".encode(), records.Epoch)


def test_metrics_of_another_version_are_read_under_their_full_names() -> None:
    text = json.dumps({"int8": {"bytes": 1, "more": {"ok": True}}, "list": [1, 0.5], "none": None})
    flat = records.Metrics.model_validate_json(text).flat()
    assert flat == {"int8.bytes": 1, "int8.more.ok": True, "list": [1, 0.5], "none": None}
