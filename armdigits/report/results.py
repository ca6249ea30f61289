"""The results table of the last run, from the metrics that the stages wrote."""

from pathlib import Path
from typing import Any, NamedTuple

from armdigits.core import files, paths
from armdigits.core.errors import BadInput
from armdigits.report.tables import markdown

README = Path("README.md")
C_TARGET = "aarch64_dotprod"  # whose code and tables are the size of the C program
BEGIN, END = "<!-- results: make readme -->\n", "<!-- end of results -->\n"


class Results(NamedTuple):
    """The table's cells, and the conditions under which they were measured."""

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    conditions: str


def results_of(
    train: dict[str, Any],
    evaluate: dict[str, Any],
    quantize: dict[str, Any],
    export: dict[str, Any],
    benchmark: dict[str, Any],
) -> Results:
    """The results, from the contents of the metrics of these stages; of `benchmark` the details."""
    single, host = benchmark["batch_1"], benchmark["host"]
    model = {"accuracy": evaluate["accuracy"], "bytes": train["bytes"]}
    # Every logit equals the int8 program's, else `export` fails. Without its emulator a target has no entry.
    c_program = {"accuracy": quantize["int8"]["accuracy"], "bytes": export.get(C_TARGET, {}).get("bytes")}
    rows = [
        _row("eager fp32", model, single["eager"], "1"),
        _row("fused fp32 program", quantize["fp32"], single["fp32"], _interval(single["fp32_over_eager"])),
        _row("int8 program", quantize["int8"], single["int8"], _interval(single["int8_over_eager"])),
        _row("C program", c_program, single["c"], _interval(single["c_over_eager"])),
    ]
    features = f" with {host['features']}" if host["features"] else ""
    conditions = (
        f"{evaluate['dataset']}, {evaluate['test_images']:,} test images. {host['cpu']} ({host['arch']}){features}, "
        f"threads: {host['threads']}{', NOISY' if single['noisy'] else ''}. Python {host['python']}, torch "
        f"{host['torch']}, ExecuTorch {host['executorch']}, torchao {host['torchao']}. Bytes of the C program: code "
        "and tables for aarch64."
    )
    return Results(("variant", "accuracy", "bytes", "p50 latency, batch 1", "ratio to eager [95 %]"), rows, conditions)


def _row(name: str, program: dict[str, Any], latency: dict[str, Any], ratio: str) -> tuple[str, ...]:
    size = "-" if program["bytes"] is None else f"{program['bytes']:,}"
    return name, f"{program['accuracy'] * 100:.2f} %", size, f"{latency['p50_us']:.1f} µs", ratio


def _interval(ratio: dict[str, Any]) -> str:
    return "{ratio:.3f} [{low:.3f}, {high:.3f}]".format(**ratio)


def read_metrics() -> list[dict[str, Any]]:
    """The arguments of `results_of` for the run in the current folder.

    Raises:
        BadInput: a metrics file is missing or broken, or the files are of different data sets.
    """
    contents = [
        files.read_json(path, stage)
        for path, stage in (
            (paths.TRAIN_METRICS, "train"),
            (paths.EVALUATE_METRICS, "evaluate"),
            (paths.QUANTIZE_METRICS, "quantize"),
            (paths.EXPORT_METRICS, "export"),
            (paths.BENCHMARK_DETAILS, "benchmark"),
        )
    ]
    names = {content["dataset"] for content in contents}
    if len(names) > 1:
        raise BadInput(f"metrics/: of different data sets ({', '.join(sorted(names))}); run: dvc repro")
    return contents


def table() -> str:
    """The table of the run in the current folder in Markdown, with its conditions under it.

    Raises:
        BadInput: as `read_metrics`.
    """
    header, rows, conditions = results_of(*read_metrics())
    return f"{markdown(header, rows, padded=True)}\n\n{conditions}\n"


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
