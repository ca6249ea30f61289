"""One page that shows the last run: report/index.html, which needs no network and no other file.

    python -m tools.report               (make report)

It is made from what the stages wrote, so run the pipeline first, or `dvc pull` what somebody else's run wrote. It
follows the light or dark mode of the reader's system. DVC's own page, `dvc plots show`, compares; this one explains.
"""

import csv
import io
import re
import subprocess
from datetime import UTC, datetime
from html import escape
from pathlib import Path

from PIL import Image

from armdigits import charts, files, paths
from armdigits.checkpoint import read_checkpoint
from armdigits.dataset import CLASSES, Split, read_provenance, read_split
from armdigits.errors import reported
from armdigits.page import card, document, grid, image, key, section, stack, table
from armdigits.parameters import Parameters, load_parameters
from armdigits.scoring import confident_mistakes, logits_of
from tools import results

REPORT = Path("report/index.html")
STYLE = Path(__file__).with_suffix(".css")


def headline(quantize: dict, benchmark: dict) -> str:
    """The four numbers of the int8 program that people ask for first."""
    fp32, int8, single = quantize["fp32"], quantize["int8"], benchmark["batch_1"]
    ratio, drop = single["int8_over_eager"], quantize["accuracy_drop"] * 100
    figures = (
        (
            "accuracy of the int8 program",
            f"{int8['accuracy'] * 100:.2f} %",
            f"{abs(drop):.2f} points {'less' if drop >= 0 else 'more'} than fp32; the same digit on "
            f"{quantize['agreement'] * 100:.2f} % of the images",
        ),
        ("size", f"{int8['bytes'] / 1000:,.1f} kB", f"{fp32['bytes'] / int8['bytes']:.1f} times smaller than fp32"),
        (
            "latency of one image",
            f"{single['int8']['p50_us']:.1f} µs",
            f"median; 90 % of the calls within {single['int8']['p90_us']:.1f} µs",
        ),
        (
            "beside eager PyTorch",
            f"{1 / ratio['ratio']:.1f} times as fast",
            f"95 % interval {1 / ratio['high']:.2f} to {1 / ratio['low']:.2f}, one image a call",
        ),
    )
    boxes = (
        f'<div class="card"><span class="label">{label}</span><b>{value}</b><p class="more">{more}</p></div>'
        for label, value, more in figures
    )
    return grid(*boxes, style="cards")


def results_table() -> str:
    """The results table of `make results`."""
    text, conditions = results.table().split("\n\n")
    header, _, *rows = (tuple(cell.strip() for cell in line.strip("|").split("|")) for line in text.splitlines())
    return card(table(rows, header, numbers=len(header) - 1), caption=conditions.strip())


def learning_curves() -> str:
    """The columns of the history that are losses, and those that are accuracies, epoch by epoch."""
    rows = read_table(paths.HISTORY, "train")
    epochs = [float(row["epoch"]) for row in rows]
    cards = []
    for ending, title in (("loss", "Loss: cross-entropy, nats"), ("accuracy", "Accuracy: share of the images")):
        names = [name for name in rows[0] if name.endswith(f"_{ending}")]
        curves = {name.removesuffix(f"_{ending}"): [float(row[name]) for row in rows] for name in names}
        last = ", ".join(f"{name} {curve[-1]:.4f}" for name, curve in curves.items())
        chart = charts.lines(title, curves, epochs, "epoch", percent=ending == "accuracy")
        cards.append(card(key(*curves) + chart, title, f"After the last epoch: {last}."))
    return grid(*cards)


def read_table(path: Path, stage: str) -> list[dict[str, str]]:
    """The rows of a CSV file that `stage` makes."""
    return list(csv.DictReader(io.StringIO(files.read_bytes(path, stage).decode())))


def confusion(evaluate: dict) -> str:
    """The confusion matrix, and the F1 score of each digit."""
    counts = [[0] * CLASSES for _ in range(CLASSES)]
    for row in read_table(paths.PREDICTIONS, "evaluate"):
        counts[int(row["actual"])][int(row["predicted"])] += 1
    scores = {digit: score["f1"] * 100 for digit, score in evaluate["classes"].items()}
    lowest = max(0.0, 10 * (min(scores.values()) // 10 - 1))
    return grid(
        card(
            charts.heat_map("Confusion matrix of the test images", counts, "shown digit", "predicted digit"),
            "Confusion matrix",
            "Images of each digit by what the fp32 network read. Blue is right, orange is wrong.",
        ),
        card(
            charts.bars("F1 score of each digit", scores, "%", lowest),
            "F1 score of each digit",
            f"Harmonic mean of precision and recall. The bars start at {lowest:.0f} %. "
            f"Mean over the digits: {evaluate['macro_f1'] * 100:.2f} %.",
        ),
    )


def mistakes(test: Split, count: int) -> str:
    """The misclassified digits of which the network was most sure."""
    network, _ = read_checkpoint(paths.MODEL)
    wrong, predicted, confidence = confident_mistakes(logits_of(network, test.pixels()), test.targets())
    tiles = []
    for position, read, sure in zip(wrong[:count], predicted.tolist(), confidence.tolist(), strict=False):
        buffer = io.BytesIO()
        Image.fromarray(255 - test.images[position].numpy()).save(buffer, "png", optimize=True)
        shown = int(test.labels[position])
        tile = image(buffer.getvalue(), f"A {shown} that was read as {read}")
        caption = f"<strong>{shown} → {read}</strong><br>{sure * 100:.1f} % sure"
        tiles.append(f"<figure>{tile}<figcaption>{caption}</figcaption></figure>")
    note = f"The {len(tiles)} most confident of {len(wrong):,} mistakes on {len(test):,} test images: shown → read."
    return card(grid(*tiles, style="tiles"), caption=note)


def latencies(benchmark: dict) -> str:
    """Percentiles and ratios of every batch size, and the picture of the whole distributions."""
    columns = []
    for name, batch in batches(benchmark).items():
        variants = {label: value for label, value in batch.items() if isinstance(value, dict) and "p50_us" in value}
        ratios = {label: value for label, value in batch.items() if isinstance(value, dict) and "ratio" in value}
        times = {label: (value["p50_us"], value["p90_us"], value["p99_us"]) for label, value in variants.items()}
        spans = {
            label.replace("_", " "): (value["low"], value["ratio"], value["high"]) for label, value in ratios.items()
        }
        rates = ", ".join(f"{label} {value['images_per_s']:,.0f}" for label, value in variants.items())
        columns.append(
            stack(
                card(charts.ranges(f"Latency at {name}", times, "µs a call"), name, f"Images a second: {rates}."),
                card(charts.intervals(f"Ratios at {name}", spans, reference=1.0), f"Ratios at {name}"),
            )
        )
    picture = image(files.read_bytes(paths.LATENCY, "benchmark"), "Distributions of the latencies")
    whole = card(f'<div class="scroll picture">{picture}</div>', "Whole distributions")
    return stack(grid(*columns), whole)


def batches(benchmark: dict) -> dict[str, dict]:
    """The part of each batch size, by the words `batch 32`."""
    return {key.replace("_", " "): value for key, value in benchmark.items() if key.startswith("batch_")}


def layer_loss(layers: dict) -> str:
    """How far the int8 activations are from the fp32 ones, layer by layer."""
    rows = {name: float(value["sqnr_db"] if isinstance(value, dict) else value) for name, value in layers.items()}
    chart = charts.bars("Signal to quantization noise of each layer", rows, "dB", min(0.0, *rows.values()))
    caption = "Power of the fp32 activations over that of their difference to int8. 20 dB: noise of a tenth."
    return grid(card(chart, "Signal to quantization noise", caption))


def parameters_tables(parameters: Parameters) -> str:
    """Every value of params.yaml, with the comment that stands beside it there."""
    heading, comments = "", {}
    for line in paths.PARAMETERS.read_text().splitlines():
        if found := re.match(r"(\w+):", line):
            heading = found[1]
        elif found := re.match(r"\s+(\w+):[^#]*#\s*(.*)", line):
            comments[heading, found[1]] = found[2]
    boxes = (
        card(table([(name, str(value), comments.get((heading, name), "")) for name, value in values.items()]), heading)
        for heading, values in parameters.model_dump().items()
    )
    return grid(*boxes, style="wide grid")


def git(*arguments: str) -> str:
    """What git answers; nothing outside a Git checkout."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def provenance(data: dict) -> str:
    """What the results were made from, and what was made: commit and checksums."""
    branch = git("branch", "--show-current")
    commit = (
        git("log", "-1", "--format=%h %s (%cs)") or "not a Git checkout",
        f"on {branch}" if branch else "",
        "with uncommitted changes" if git("status", "--porcelain") else "",
    )
    programs = files.read_json(paths.PROGRAMS, "quantize")
    rows = [
        ("commit", " ".join(filter(None, commit))),
        *((f"source: {name}", digest) for name, digest in data["source"].items()),
        *((f"{name}, {entry['images']:,} images", entry["sha256"]) for name, entry in data["files"].items()),
        ("weights", programs["weights_sha256"]),
        *programs["programs_sha256"].items(),
    ]
    layers = escape(files.read_bytes(paths.LAYERS, "train").decode())
    folded = f'<details><summary>The layers</summary><div class="scroll"><pre>{layers}</pre></div></details>'
    return stack(card(table(rows)), card(folded))


def page(parameters: Parameters) -> str:
    """The whole page."""
    evaluate = files.read_json(paths.EVALUATE_METRICS, "evaluate")
    quantize = files.read_json(paths.QUANTIZE_METRICS, "quantize")
    benchmark = files.read_json(paths.BENCHMARK_METRICS, "benchmark")
    data, host, layers = read_provenance(), benchmark["host"], quantize.get("layers")
    sections = {
        "Results": (
            "Accuracy on the test images, size of the file, median time of a call with one image.",
            results_table(),
        ),
        "Learning": (
            "The training loss is the mean over an epoch; the validation figures are taken after it.",
            learning_curves(),
        ),
        "Confusion": ("Which digits are taken for which.", confusion(evaluate)),
        "Mistakes": (
            "What the network is surest of, and wrong.",
            mistakes(read_split(paths.TEST_DATA), parameters.evaluate.misclassified),
        ),
        "Latency": (
            "A disc is the median, the bars are the 90th and the 99th percentile. A ratio below 1 means faster; the "
            "control is the int8 program against itself, and its interval should hold 1.",
            latencies(benchmark),
        ),
        **({"Layers": ("What int8 costs on the way to the logits.", layer_loss(layers))} if layers else {}),
        "Parameters": ("What params.yaml said.", parameters_tables(parameters)),
        "Provenance": ("MD5 or SHA-256 of what went in, SHA-256 of what came out.", provenance(data)),
        "Host": ("Where the latencies were measured.", card(table([(name, str(host[name])) for name in host]))),
    }
    noisy = ", ".join(name for name, batch in batches(benchmark).items() if batch.get("noisy"))
    warning = f'<p class="warning">Noisy at {noisy}: take these latencies as rough ones.</p>' if noisy else ""
    links = "".join(f'<a href="#{title.lower()}">{title}</a>' for title in sections)
    title = "Handwritten digits as an int8 program"
    facts = (
        f"{data['name']}, {evaluate['test_images']:,} test images",
        f"{host['cpu']} ({host['arch']})",
        f"page made {datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
    return document(
        f"{title}: {data['name']}",
        STYLE.read_text(),
        f'<h1>{title}</h1><p class="muted">{escape(" · ".join(facts))}</p><nav>{links}</nav>'
        + headline(quantize, benchmark)
        + warning
        + "".join(section(title, note, content) for title, (note, content) in sections.items())
        + "<footer>Made by <code>make report</code> from what the stages wrote.</footer>",
    )


def main() -> None:
    """Write the page and say where it is."""
    content = page(load_parameters(paths.PARAMETERS)).encode()
    files.write_bytes(REPORT, content)
    print(f"{REPORT}: {len(content) / 1000:,.0f} kB; open it in a browser")


if __name__ == "__main__":
    with reported("report"):
        main()
