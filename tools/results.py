"""The results table, from the metrics that the stages wrote.

python -m tools.results              (make results)  print it
python -m tools.results --readme     (make readme)   put it into README.md, between the two markers
"""

import sys
from pathlib import Path

from armdigits import files, paths
from armdigits.errors import BadInput, reported

README = Path("README.md")
BEGIN, END = "<!-- results: make readme -->\n", "<!-- end of results -->\n"


def render(train: dict, evaluate: dict, quantize: dict, benchmark: dict) -> str:
    """The table in Markdown, with its conditions under it, from the contents of the stages' metrics."""
    single = benchmark["batch_1"]
    host = benchmark["host"]
    rows = [
        ("variant", "accuracy", "bytes", "p50 latency, batch 1", "ratio to eager [95 %]"),
        ("eager fp32", *_size({**train, **evaluate}), _micro(single["eager"]), "1"),
        ("fused fp32 program", *_size(quantize["fp32"]), _micro(single["fp32"]), _interval(single["fp32_over_eager"])),
        ("int8 program", *_size(quantize["int8"]), _micro(single["int8"]), _interval(single["int8_over_eager"])),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in rows]
    lines.insert(1, "| " + " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]) + " |")
    features = f" with {host['features']}" if host["features"] else ""
    lines += [
        "",
        f"{evaluate['dataset']}, {evaluate['test_images']:,} test images. {host['cpu']} ({host['arch']}){features}, "
        f"threads: {host['threads']}{', NOISY' if single['noisy'] else ''}. Python {host['python']}, torch "
        f"{host['torch']}, ExecuTorch {host['executorch']}, torchao {host['torchao']}.",
    ]
    return "\n".join(lines) + "\n"


def _percent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")


def _micro(variant: dict) -> str:
    return f"{variant['p50_us']:.1f} µs"


def _size(program: dict) -> tuple[str, str]:
    return _percent(program["accuracy"]), f"{program['bytes']:,}"


def _interval(ratio: dict) -> str:
    return "{ratio:.3f} [{low:.3f}, {high:.3f}]".format(**ratio)


def table() -> str:
    """The table of the last run.

    Raises:
        BadInput: a metrics file is missing or broken, or they are of different data sets.
    """
    contents = [
        files.read_json(path, stage)
        for path, stage in (
            (paths.TRAIN_METRICS, "train"),
            (paths.EVALUATE_METRICS, "evaluate"),
            (paths.QUANTIZE_METRICS, "quantize"),
            (paths.BENCHMARK_METRICS, "benchmark"),
        )
    ]
    names = {content["dataset"] for content in contents}
    if len(names) > 1:
        raise BadInput(f"metrics/: of different data sets ({', '.join(sorted(names))}); run: dvc repro")
    return render(*contents)


def with_table(readme: str, text: str) -> str:
    """The text of the README with `text` between the markers."""
    before, found, rest = readme.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise BadInput(f"{README}: the lines {BEGIN.strip()} and {END.strip()} are missing")
    return f"{before}{BEGIN}{text}{END}{after}"


def main(arguments: list[str]) -> None:
    """Print the table, or write it into the README."""
    if arguments == ["--readme"]:
        files.write_bytes(README, with_table(README.read_text(), table()).encode())
    elif not arguments:
        print(table(), end="")
    else:
        raise BadInput(__doc__)


if __name__ == "__main__":
    with reported("results"):
        main(sys.argv[1:])
