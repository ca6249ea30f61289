"""The results table of the last run, from what Git has of it: a fresh clone has the table too."""

from pathlib import Path
from typing import NamedTuple

from armdigits.core import files, lock, paths, records
from armdigits.core.errors import BadInput
from armdigits.report.tables import escaped, markdown

README = Path("README.md")
BEGIN, END = "<!-- results: make readme -->\n", "<!-- end of results -->\n"


class Run(NamedTuple):
    """What Git has of a run, besides its tables."""

    train: records.TrainMetrics
    evaluate: records.EvaluateMetrics
    quantize: records.QuantizeMetrics
    export: records.ExportMetrics
    benchmark: records.BenchmarkDetails


class Results(NamedTuple):
    """The table's cells, and the conditions under which they were measured."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    conditions: str


def results_of(run: Run) -> Results:
    """The results of the run in the current folder.

    Raises:
        BadInput: a size is missing in `dvc.lock`, or the predictions are missing or broken.
    """
    single, host, int8 = run.benchmark.batch_1, run.benchmark.host, run.quantize.int8
    test_images = len(records.read_table(paths.PREDICTIONS, records.Prediction, "evaluate"))
    # none where their emulators are not installed
    name, target = next(iter(run.export.targets().items()), ("a target", None))
    rows = [
        _row("eager fp32", run.evaluate.accuracy, lock.size_of(paths.MODEL), single.eager),
        _row(
            "fused fp32 program",
            run.quantize.fp32.accuracy,
            lock.size_of(paths.FP32_PROGRAM),
            single.fp32,
            single.fp32_over_eager,
        ),
        _row("int8 program", int8.accuracy, int8.bytes, single.int8, single.int8_over_eager),
        # Every logit equals the int8 program's, else `export` fails.
        _row("C program", int8.accuracy, target.bytes if target else None, single.c, single.c_over_eager),
    ]
    features = f" with {host.features}" if host.features else ""
    conditions = (
        f"{run.train.dataset}, {test_images:,} test images. {host.cpu} ({host.arch}){features}, "
        f"threads: {host.threads}{', NOISY' if single.noisy else ''}. Python {host.python}, torch {host.torch}, "
        f"ExecuTorch {host.executorch}, torchao {host.torchao}. Bytes of the C program: code and tables for {name}."
    )
    return Results(("variant", "accuracy", "bytes", "p50 latency, batch 1", "ratio to eager [95 %]"), rows, conditions)


def _row(
    name: str, accuracy: float, size: int | None, timing: records.Timing, ratio: records.Ratio | None = None
) -> tuple[str, ...]:
    interval = f"{ratio.ratio:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]" if ratio else "1"
    return name, f"{accuracy * 100:.2f} %", "-" if size is None else f"{size:,}", f"{timing.p50_us:.1f} µs", interval


def read_run() -> Run:
    """The run in the current folder.

    Raises:
        BadInput: a metrics file is missing or broken, or the files are of different data sets.
    """
    run = Run(
        records.read(paths.TRAIN_METRICS, records.TrainMetrics, "train"),
        records.read(paths.EVALUATE_METRICS, records.EvaluateMetrics, "evaluate"),
        records.read(paths.QUANTIZE_METRICS, records.QuantizeMetrics, "quantize"),
        records.read(paths.EXPORT_METRICS, records.ExportMetrics, "export"),
        records.read(paths.BENCHMARK_DETAILS, records.BenchmarkDetails, "benchmark"),
    )
    names = sorted({run.train.dataset, run.benchmark.dataset})
    if len(names) > 1:
        raise BadInput(f"metrics/: of different data sets ({', '.join(names)[:200]}); run: dvc repro")
    return run


def table() -> str:
    """The table of the run in the current folder in Markdown, with its conditions under it.

    Raises:
        BadInput: as `read_run` and `results_of`.
    """
    header, rows, conditions = results_of(read_run())
    return f"{markdown(header, rows, padded=True)}\n\n{escaped(conditions)}\n"


def with_table(readme: str, text: str) -> str:
    """The text of a README with `text` between the two markers.

    Raises:
        BadInput: a marker is missing.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise BadInput(f"{README}: the lines {BEGIN.strip()} and {END.strip()} are missing")
    return f"{before}{BEGIN}{text}{END}{after}"


def write_readme() -> None:
    """Put the table of the run into README.md."""
    try:
        readme = README.read_text("utf-8")
    except FileNotFoundError:
        raise BadInput(f"{README}: no such file; run from the project folder") from None
    files.write_bytes(README, with_table(readme, table()).encode())
