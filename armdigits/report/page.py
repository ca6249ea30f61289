"""The page of the last run: one HTML file that needs no network and no other file.

It shows what the stages wrote, and follows the light or dark mode of the reader's system. It can compare the
run with that of another commit.
"""

import base64
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup
from PIL import Image
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from sklearn import metrics

from armdigits.core import files, git, lock, paths, records
from armdigits.core.errors import BadInput
from armdigits.core.parameters import load_parameters
from armdigits.data.dataset import Split, read_provenance, read_split
from armdigits.models.checkpoint import read_checkpoint
from armdigits.models.scoring import confident_mistakes, model_logits
from armdigits.pictures.shown import shown
from armdigits.report import against, charts, results
from armdigits.report.templates import package_files, template

REPORT = Path("report/index.html")


def render(base: str = "") -> str:
    """The page of the run in the current folder, from page.html and page.css.

    Args:
        base: a commit with which the page compares the run; none where it is empty.

    Raises:
        BadInput: params.yaml is invalid, a stage's output is missing or broken, or `base` has no results.
    """
    parameters = load_parameters(paths.PARAMETERS)
    run = results.read_run()
    evaluated = records.read(paths.EVALUATE_DETAILS, records.EvaluateDetails, "evaluate")
    layers = records.read(paths.QUANTIZE_DETAILS, records.QuantizeDetails, "quantize").layers
    return template("report/page.html").render(
        style=package_files("report/page.css"),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        dataset=evaluated.dataset,
        test_images=evaluated.test_images,
        macro_f1=run.evaluate.macro_f1,
        quantize=run.quantize,
        fp32_bytes=lock.size_of(paths.FP32_PROGRAM),
        single=run.benchmark.batch_1,
        host=run.benchmark.host.content(),
        results=results.results_of(run),
        comparison=compare_with(base) if base else None,
        learning=learning_curves(),
        confusion=confusion_matrix(),
        scores=f1_scores(evaluated.classes),
        mistakes=mistakes(read_split(paths.TEST_DATA), parameters.evaluate.misclassified),
        batches=latencies(run.benchmark),
        distributions=_base64(files.read_bytes(paths.LATENCY, "benchmark")),
        layers=noise_of(layers) if layers else None,
        parameters=parameter_tables(parameters.model_dump()),
        provenance=provenance(),
        can_be_drawn=records.read(paths.PROGRAM_RECORD, records.Programs, "quantize").can_be_drawn(),
        summary=files.read_utf8(paths.LAYERS, "train"),
    )


def learning_curves() -> list[dict[str, Any]]:
    """A chart of the history's losses, and one of its accuracies: `title`, `chart`, and the `last` value by curve."""
    rows = records.read_table(paths.HISTORY, records.Epoch, "train")
    found = []
    for ending, title in (("_loss", "Loss: cross-entropy, nats"), ("_accuracy", "Accuracy: share of the images")):
        names = [name for name in records.Epoch.model_fields if name.endswith(ending)]
        series = {name.removesuffix(ending): [getattr(row, name) for row in rows] for name in names}
        chart = charts.curves(title, series, [row.epoch for row in rows], percent=ending == "_accuracy")
        last = {name: values[-1] for name, values in series.items()}
        found.append({"title": title, "chart": _inline(chart), "last": last})
    return found


def confusion_matrix() -> Markup:
    """The chart of the test images' labels and predictions."""
    return _matrix("Confusion matrix of the test images", _predictions())


def _predictions() -> list[records.Prediction]:
    rows = records.read_table(paths.PREDICTIONS, records.Prediction, "evaluate")
    classes = set(read_provenance().classes)
    if not all({row.actual, row.predicted} <= classes for row in rows):
        raise BadInput(f"{paths.PREDICTIONS}: of other classes; run: dvc repro --force evaluate")
    return rows


def _matrix(title: str, rows: list[records.Prediction]) -> Markup:
    actual, predicted = [row.actual for row in rows], [row.predicted for row in rows]
    classes = list(dict.fromkeys([*read_provenance().classes, *actual, *predicted]))  # another run may have others
    counts = metrics.confusion_matrix(actual, predicted, labels=classes)
    return _inline(charts.confusion_matrix(title, counts.tolist(), classes))


def compare_with(base: str) -> dict[str, Any]:
    """The `metrics` that differ from those of the commit `base`, the `curves` and the confusion `matrices` of both."""
    here, there = (
        records.read_table(paths.HISTORY, records.Epoch, "train"),
        against.read_base_table(base, paths.HISTORY, records.Epoch),
    )
    epochs = [row.epoch for row in max(here, there, key=len)]
    curves = []
    for name, title in (("validation_loss", "Validation loss"), ("validation_accuracy", "Validation accuracy")):
        series = {label: [getattr(row, name) for row in rows] for label, rows in (("this run", here), (base, there))}
        chart = charts.curves(f"{title}, this run and {base}", series, epochs, percent=name.endswith("accuracy"))
        curves.append({"title": title, "chart": _inline(chart)})
    tables = {
        "this run": _predictions(),
        base: against.read_base_table(base, paths.PREDICTIONS, records.Prediction),
    }
    matrices = [
        {"title": name, "chart": _matrix(f"Confusion matrix beside another, {name}", rows)}
        for name, rows in tables.items()
    ]
    return {"base": base, "metrics": against.metric_rows(base), "curves": curves, "matrices": matrices}


def f1_scores(classes: dict[str, records.ClassScores]) -> dict[str, Any]:
    """The `chart` of each class's F1 score, and the percentage at which its bars start, `lowest`."""
    scores = {name: score.f1 * 100 for name, score in classes.items()}
    lowest = max(0.0, 10 * (min(scores.values()) // 10 - 1))
    return {"chart": _inline(charts.bars("F1 score of each class", scores, "%", lowest)), "lowest": lowest}


def mistakes(test: Split, count: int) -> dict[str, Any]:
    """Up to `count` wrong predictions with the highest probability, as `tiles`, and the `total` number of mistakes."""
    model, _ = read_checkpoint(paths.MODEL)
    data = read_provenance()
    classes = data.classes
    wrong, predicted, confidence = confident_mistakes(model_logits(model, test.images), test.targets())
    tiles = []
    for image, label, probability in zip(wrong[:count].tolist(), predicted, confidence, strict=False):
        png = io.BytesIO()
        Image.fromarray(shown(test.images[image].numpy(), data.reading)).save(png, "png", optimize=True)
        names = {"shown": classes[int(test.labels[image])], "predicted": classes[int(label)]}
        tiles.append({"png": _base64(png.getvalue()), "probability": float(probability), **names})
    return {"tiles": tiles, "total": len(wrong)}


def latencies(benchmark: records.BenchmarkDetails) -> list[dict[str, Any]]:
    """For each batch size its `name`, whether it is `noisy`, `rates` in images per second, and two charts."""
    found = []
    for key, batch in benchmark.batches().items():
        name = key.replace("_", " ")
        times = {label: (value.p50_us, value.p90_us, value.p99_us) for label, value in batch.timings().items()}
        ratios = {label: (value.low, value.ratio, value.high) for label, value in batch.ratios().items()}
        found.append(
            {
                "name": name,
                "noisy": batch.noisy,
                "rates": {label.replace("_", " "): value.images_per_s for label, value in batch.timings().items()},
                "times": _inline(charts.percentiles(f"Latency at {name}", times, "µs per call")),
                "ratios": _inline(charts.intervals(f"Ratios at {name}", ratios)),
            }
        )
    return found


def noise_of(layers: dict[str, records.LayerNoise]) -> Markup:
    """The chart of each layer's signal-to-quantization-noise ratio; null where a layer has no noise or no signal."""
    rows = {name: layer.sqnr_db for name, layer in layers.items()}
    lowest = min([0.0, *(value for value in rows.values() if value is not None)])
    return _inline(charts.bars("Signal-to-quantization-noise ratio of each layer", rows, "dB", lowest))


def parameter_tables(parameters: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """For each section of params.yaml its `name`, its `comment`, and `rows` of key, value and comment."""
    document = YAML().load(paths.PARAMETERS.read_text("utf-8"))
    return [
        {
            "name": name,
            "comment": _comment(document, name),
            "rows": [(key, str(parameters[name][key]), _comment(section, key)) for key in section],
        }
        for name, section in document.items()
    ]


def _comment(section: CommentedMap, key: str) -> str:
    """The comment on the line of `key`; empty when there is none."""
    tokens = section.ca.items.get(key)  # ruamel attaches all comments up to the next key, so only the first line counts
    return tokens[2].value.splitlines()[0].lstrip("# ") if tokens and tokens[2] else ""


def provenance() -> list[tuple[str, str]]:
    """What the results were made from, and what was made: commit and checksums."""
    data, programs = read_provenance(), records.read(paths.PROGRAM_RECORD, records.Programs, "quantize")
    branch = _git("branch", "--show-current")
    commit = (
        _git("log", "-1", "--format=%h %s (%cs)") or "not a Git checkout",
        f"on {branch}" if branch else "",
        "with uncommitted changes" if _git("status", "--porcelain") else "",
    )
    return [
        ("commit", " ".join(filter(None, commit))),
        *((f"source: {name}", digest) for name, digest in data.source.items()),
        *((f"{name}, {entry.images:,} images", entry.sha256) for name, entry in data.files.items()),
        ("weights", programs.weights_sha256),
        *programs.programs_sha256.items(),
    ]


def _git(*arguments: str) -> str:
    """What a Git command prints; nothing outside a Git checkout."""
    try:
        done = git.run(*arguments)
    except FileNotFoundError:
        return ""
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else ""


def _base64(png: bytes) -> str:
    return base64.b64encode(png).decode()


def _inline(svg: str) -> Markup:
    return Markup(svg)  # noqa: S704 - matplotlib escapes the text inside
