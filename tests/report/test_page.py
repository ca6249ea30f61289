import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

from armdigits.core import files, paths
from armdigits.core.errors import BadInput
from armdigits.core.parameters import load_parameters
from armdigits.data.dataset import Split, read_provenance, read_split, write_dataset
from armdigits.draw.page import DRAW
from armdigits.models.checkpoint import read_checkpoint, write_checkpoint
from armdigits.models.mlp import NeuralNetwork
from armdigits.report.page import REPORT, render
from tests.helpers import run

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Collects what a browser would load and show; fails where a tag is not closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.sections: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag == "section":
            self.sections.append(dict(attrs)["id"])
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(" ".join(data.split()))


def read() -> Reader:
    return Reader(render())


def change(path: Path, **values: object) -> None:
    """Change top-level keys of a JSON file."""
    files.write_json(path, {**json.loads(path.read_text("utf-8")), **values})


def test_the_page_loads_nothing_from_elsewhere(small_run):
    text = render()
    reader = Reader(text)
    assert all(link.startswith(("data:image/png;base64,", "#")) or link == DRAW.name for link in reader.links)
    assert not {"script", "link", "iframe"} & set(reader.tags)
    assert "http" not in text
    assert "@import" not in text
    assert text.count("url(") == text.count("url(#")


def test_every_link_leads_to_a_section(small_run):
    reader = read()
    assert [link[1:] for link in reader.links if link.startswith("#")] == reader.sections
    assert len(reader.sections) == 9


def test_no_identifier_occurs_twice(small_run):
    ids = read().ids
    assert len(ids) == len(set(ids))


def test_the_page_shows_the_figures_of_the_run(small_run):
    words = read().words
    for figure in (
        "98.25 %",
        "112.6 kB",
        "6.8 µs",
        "5.3 times",
        "0.50 points less than fp32; the same class for 99.50 % of the images",
        "median; 90 % of calls take at most 10.1 µs; the C program takes 3.0 µs",
        "95 % interval 5.28 to 5.39, one image per call; the C program: 12.5 times",
    ):
        assert figure in words
    for cell in ("412,040", "112,552", "0.188 [0.186, 0.189]", "Neoverse N1", files.sha256(b"int8")):
        assert cell in words
    for chart in ("eager 36", "int8 27", "control 1.000", "38.2 dB", "97.0 %"):
        assert chart in words


def test_the_page_has_colours_for_light_and_dark_mode(small_run):
    text = render()
    light, dark = re.findall(r":root \{ --eager: (#\w{6})", text)
    assert light != dark
    for name in set(re.findall(r"var\(--(\w[\w-]*)\)", text)):
        assert f"--{name}:" in text, name


def test_the_page_shows_every_parameter_with_its_comment(small_run):
    words = read().words
    for values in load_parameters(paths.PARAMETERS).model_dump().values():
        for name, value in values.items():
            assert name in words
            assert str(value) in words, name
    comments = re.findall(r"^ *\w+:.*?# (.*)$", paths.PARAMETERS.read_text("utf-8"), flags=re.MULTILINE)
    assert len(comments) > 25
    for comment in comments:
        assert comment in words


def test_a_parameter_without_a_comment_is_shown_too(small_run):
    paths.PARAMETERS.write_text(re.sub(r" +#.*", "", paths.PARAMETERS.read_text("utf-8")), "utf-8")
    assert "calibration_samples" in read().words


def test_the_page_shows_every_mistake(small_run):
    test, (model, _) = read_split(paths.TEST_DATA), read_checkpoint(paths.MODEL)
    predicted = model(test.pixels()).argmax(1)
    wrong = [
        f"{label} → {read}"
        for label, read in zip(test.labels.tolist(), predicted.tolist(), strict=True)
        if label != read
    ]
    words = read().words
    assert sorted(word for word in words if re.fullmatch(r"\d → \d", word)) == sorted(wrong)
    assert f"The {len(wrong)} most confident of {len(wrong)} mistakes on 30 test images: label → prediction." in words


def test_the_page_has_the_names_of_the_classes(small_run):
    record = read_provenance()
    names = [f"<{name}>" for name in ("circle", "cross", "square")]
    splits = {}
    for path in (paths.TRAIN_DATA, paths.VALIDATION_DATA, paths.TEST_DATA):
        split = read_split(path)
        splits[path] = Split(split.images, split.labels % 3)
    write_dataset("folder mine", record.source, splits, names)
    torch.manual_seed(0)
    write_checkpoint(paths.MODEL, NeuralNetwork(classes=3))
    files.write_csv(paths.PREDICTIONS, ("actual", "predicted"), [(names[0], names[1]), (names[2], names[2])])
    scores = {name: {"precision": 0.9, "recall": 0.9, "f1": 0.9} for name in names}
    change(paths.EVALUATE_DETAILS, classes=scores)
    page = render()
    assert page.count("&lt;cross&gt;</text>") == 3, "twice beside the matrix, once beside the F1 scores"
    assert re.search(r"<strong>&lt;(circle|cross|square)&gt; → &lt;(circle|cross|square)&gt;</strong>", page)


def test_the_page_shows_no_more_mistakes_than_the_limit(small_run):
    paths.PARAMETERS.write_text(
        re.sub(r"misclassified: \d+", "misclassified: 5", paths.PARAMETERS.read_text("utf-8")), "utf-8"
    )
    assert sum(bool(re.fullmatch(r"\d → \d", word)) for word in read().words) == 5


def test_a_layer_without_a_noise_figure_is_shown_as_not_available(small_run):
    change(paths.QUANTIZE_DETAILS, layers={"linear1": {"sqnr_db": None}, "linear2": {"sqnr_db": -3.5}})
    words = read().words
    assert "n/a" in words
    assert "-3.5 dB" in words


def test_a_page_is_rendered_when_no_layer_has_a_noise_figure(small_run):
    change(paths.QUANTIZE_DETAILS, layers={"linear1": {"sqnr_db": None}})
    assert "n/a" in read().words


def test_the_page_has_no_section_on_layers_without_figures_of_layers(small_run):
    files.write_json(paths.QUANTIZE_DETAILS, {"dataset": "digits", "proofs": {}})
    reader = read()
    assert "layers" not in reader.sections
    assert "#layers" not in reader.links


def test_a_noisy_run_is_marked_next_to_its_headline_figures(small_run):
    assert "noisy run" not in read().words
    content = json.loads(paths.BENCHMARK_DETAILS.read_text("utf-8"))
    content["batch_1"]["noisy"] = True
    files.write_json(paths.BENCHMARK_DETAILS, content)
    words = read().words
    assert words.count("noisy run") == 2
    assert any(word.startswith("Noisy run at batch 1: ") for word in words)


def test_a_noisy_batch_other_than_the_first_leaves_the_headline_alone(small_run):
    content = json.loads(paths.BENCHMARK_DETAILS.read_text("utf-8"))
    content["batch_8"]["noisy"] = True
    files.write_json(paths.BENCHMARK_DETAILS, content)
    words = read().words
    assert "noisy run" not in words
    assert "batch 8, noisy" in words
    assert any(word.startswith("Noisy run at batch 8: ") for word in words)


def test_markup_in_the_metrics_is_shown_as_text(small_run):
    host = json.loads(paths.BENCHMARK_DETAILS.read_text("utf-8"))["host"]
    change(paths.BENCHMARK_DETAILS, host={**host, "cpu": "<script>alert('x')</script>"})
    change(paths.QUANTIZE_DETAILS, layers={"<b>&": {"sqnr_db": 1.0}})
    reader = read()
    assert "script" not in reader.tags
    assert "<script>alert('x')</script>" in reader.words
    assert "<b>&" in reader.words


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        (paths.BENCHMARK_DETAILS, "benchmark"),
        (paths.EVALUATE_DETAILS, "evaluate"),
        (paths.HISTORY, "train"),
        (paths.MODEL, "train"),
        (paths.QUANTIZE_DETAILS, "quantize"),
        (paths.TEST_DATA, "download"),
    ],
)
def test_a_missing_file_names_the_stage_that_writes_it(small_run, path, stage):
    path.unlink()
    with pytest.raises(BadInput, match=rf"^{path}: no such file; run: dvc repro {stage}$"):
        render()


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (paths.HISTORY, "epoch,validation_loss,validation_accuracy\n"),
        (paths.HISTORY, "epoch,validation_loss,validation_accuracy\n1,0.5\n"),
        (paths.HISTORY, "epoch,train_loss\n1,0.5\n"),
        (paths.HISTORY, "\xff\x00"),
        (paths.PREDICTIONS, "actual,predicted\n1,seven\n"),
        (paths.PREDICTIONS, "actual,predicted\n1,7,3\n"),
    ],
)
def test_a_broken_table_names_the_stage_that_writes_it(small_run, path, content):
    path.write_text(content, encoding="latin-1")
    with pytest.raises(BadInput, match=rf"^{path}: .*; run: dvc repro --force \w+$"):
        render()


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (paths.EVALUATE_DETAILS, "classes"),
        (paths.QUANTIZE_METRICS, "agreement"),
        (paths.BENCHMARK_DETAILS, "batch_1"),
        (paths.PROGRAM_RECORD, "weights_sha256"),
    ],
)
def test_a_missing_entry_names_the_file_and_the_stage(small_run, path, key):
    content = json.loads(path.read_text("utf-8"))
    del content[key]
    files.write_json(path, content)
    with pytest.raises(BadInput, match=rf"^{path}: has no entry {key}; run: dvc repro --force \w+$"):
        render()


@pytest.mark.slow
def test_the_command_writes_the_page_of_a_real_run(ran):
    done = run(ran, sys.executable, "-m", "armdigits", "report")
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [str(REPORT), str(DRAW)]
    assert DRAW.parent == REPORT.parent, "the link leads there"
    assert (ran / DRAW).exists()
    text = (ran / REPORT).read_text("utf-8")
    assert len(text) < 2_000_000
    words = Reader(text).words
    quantize = json.loads(paths.QUANTIZE_METRICS.read_text("utf-8"))
    assert f"{quantize['int8']['accuracy'] * 100:.2f} %" in words
    assert json.loads(paths.PROGRAM_RECORD.read_text("utf-8"))["programs_sha256"]["int8.pte"] in words


def commit_all() -> None:
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x", "commit", "-qm", "one"]):
        subprocess.run(["git", *command], check=True)


def test_a_comparison_shows_metrics_curves_and_matrices_of_both_commits_without_a_network(small_run):
    files.write_json(paths.BENCHMARK_METRICS, {"batch_1": {"int8": {"p50_us": 6.75}}})
    commit_all()
    change(paths.EVALUATE_METRICS, accuracy=0.99)
    change(paths.EXPORT_METRICS, equal_logits=301)
    history = [(1, 0.9, 0.4, 0.9), (2, 0.5, 0.2, 0.95)]
    files.write_csv(paths.HISTORY, ("epoch", "train_loss", "validation_loss", "validation_accuracy"), history)
    text = render("HEAD")
    reader = Reader(text)
    assert "comparison" in reader.sections
    for row in (
        ["evaluate: accuracy", "0.9875", "0.99", "+0.0025"],
        ["export: equal_logits", "300", "301", "+1"],
    ):
        at = reader.words.index(row[0])
        assert [word for word in reader.words[at : at + 9] if word][: len(row)] == row
    assert "quantize: agreement" not in reader.words, "it does not differ"
    for title in ("Validation loss, this run and HEAD", "Confusion matrix beside another, HEAD"):
        assert f"<title>{title}</title>" in text
    assert "http" not in text
    assert len(reader.ids) == len(set(reader.ids))


def test_a_commit_that_does_not_exist_or_has_no_results_gets_one_line(small_run):
    commit_all()
    for base, reason in (("gone", "invalid object name 'gone'"), ("HEAD", "metrics/benchmark.json")):
        with pytest.raises(BadInput) as caught:
            render(base)
        assert reason in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
