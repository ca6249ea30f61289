"""The results table of the last run, from the metrics that the stages wrote."""

from pathlib import Path
from typing import NamedTuple

from armdigits.core import files, paths, records
from armdigits.core.errors import BadInput
from armdigits.report.tables import escaped, markdown

README = Path("README.md")
C_TARGET = "aarch64_dotprod"  # whose code and tables are the size of the C program
BEGIN, END = "<!-- results: make readme -->\n", "<!-- end of results -->\n"


class Metrics(NamedTuple):
    """What the table shows."""

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


def results_of(run: Metrics) -> Results:
    """The results of a run."""
    single, host, int8 = run.benchmark.batch_1, run.benchmark.host, run.quantize.int8
    target = run.export.targets().get(C_TARGET)  # missing where its emulator is not installed
    rows = [
        _row("eager fp32", run.evaluate.accuracy, run.train.bytes, single.eager),
        _row(
            "fused fp32 program",
            run.quantize.fp32.accuracy,
            run.quantize.fp32.bytes,
            single.fp32,
            single.fp32_over_eager,
        ),
        _row("int8 program", int8.accuracy, int8.bytes, single.int8, single.int8_over_eager),
        # Every logit equals the int8 program's, else `export` fails.
        _row("C program", int8.accuracy, target.bytes if target else None, single.c, single.c_over_eager),
    ]
    features = f" with {host.features}" if host.features else ""
    conditions = (
        f"{run.evaluate.dataset}, {run.evaluate.test_images:,} test images. {host.cpu} ({host.arch}){features}, "
        f"threads: {host.threads}{', NOISY' if single.noisy else ''}. Python {host.python}, torch {host.torch}, "
        f"ExecuTorch {host.executorch}, torchao {host.torchao}. Bytes of the C program: code and tables for aarch64."
    )
    return Results(("variant", "accuracy", "bytes", "p50 latency, batch 1", "ratio to eager [95 %]"), rows, conditions)


def _row(
    name: str, accuracy: float, size: int | None, timing: records.Timing, ratio: records.Ratio | None = None
) -> tuple[str, ...]:
    interval = f"{ratio.ratio:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]" if ratio else "1"
    return name, f"{accuracy * 100:.2f} %", "-" if size is None else f"{size:,}", f"{timing.p50_us:.1f} µs", interval


def read_metrics() -> Metrics:
    """The metrics of the run in the current folder.

    Raises:
        BadInput: a metrics file is missing or broken, or the files are of different data sets.
    """
    run = Metrics(
        records.read(paths.TRAIN_METRICS, records.TrainMetrics, "train"),
        records.read(paths.EVALUATE_METRICS, records.EvaluateMetrics, "evaluate"),
        records.read(paths.QUANTIZE_METRICS, records.QuantizeMetrics, "quantize"),
        records.read(paths.EXPORT_METRICS, records.ExportMetrics, "export"),
        records.read(paths.BENCHMARK_DETAILS, records.BenchmarkDetails, "benchmark"),
    )
    names = {metrics.dataset for metrics in run}
    if len(names) > 1:
        raise BadInput(f"metrics/: of different data sets ({', '.join(sorted(names))}); run: dvc repro")
    return run


def table() -> str:
    """The table of the run in the current folder in Markdown, with its conditions under it.

    Raises:
        BadInput: as `read_metrics`.
    """
    header, rows, conditions = results_of(read_metrics())
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
