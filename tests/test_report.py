"""The page that shows a run."""

import json
import re
import sys
from html.parser import HTMLParser

import pytest

from armdigits import files, paths
from armdigits.errors import BadInput
from armdigits.parameters import load_parameters
from tests.conftest import run
from tools.report import REPORT, page

VOID = {"meta", "img", "br"}


class Reader(HTMLParser):
    """Collects what a browser would load and show, and whether every tag is closed in its order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, _attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data.strip())


def read() -> Reader:
    return Reader(page(load_parameters(paths.PARAMETERS)))


def test_the_page_needs_no_other_file(ran):
    text = page(load_parameters(paths.PARAMETERS))
    reader = Reader(text)
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in reader.links)
    assert not {"script", "link", "iframe"} & set(reader.tags)
    assert "http" not in text and "url(" not in text and "@import" not in text


def test_every_link_leads_to_a_section(ran):
    reader = read()
    assert [link[1:] for link in reader.links if link.startswith("#")] == reader.ids
    assert len(reader.ids) >= 8


def test_the_page_shows_the_numbers_of_the_run(ran):
    words = read().words
    quantize = json.loads(paths.QUANTIZE_METRICS.read_text())
    assert f"{quantize['int8']['accuracy'] * 100:.2f} %" in words
    assert f"{quantize['int8']['bytes']:,}" in words
    assert json.loads(paths.PROGRAMS.read_text())["programs_sha256"]["int8.pte"] in words
    assert json.loads(paths.BENCHMARK_METRICS.read_text())["host"]["cpu"] in words


def test_the_page_shows_every_parameter_with_its_comment(ran):
    words = read().words
    for values in load_parameters(paths.PARAMETERS).model_dump().values():
        for name, value in values.items():
            assert name in words and str(value) in words, name
    assert "largest batch that the programs accept, images" not in words  # the tests' parameters have no comments
    paths.PARAMETERS.write_text(re.sub(r"(max_batch: \d+)", r"\1 # images a call", paths.PARAMETERS.read_text()))
    assert "images a call" in read().words


def test_the_page_shows_every_mistake_up_to_the_limit(ran):
    rows = [line.split(",") for line in paths.PREDICTIONS.read_text().splitlines()[1:]]
    wrong = sorted(f"{actual} → {predicted}" for actual, predicted in rows if actual != predicted)
    shown = sorted(word for word in read().words if re.fullmatch(r"\d → \d", word))
    assert shown == wrong[:40] if len(wrong) <= 40 else len(shown) == 40


def test_the_loss_of_each_layer_is_shown_when_quantize_measured_it(ran):
    metrics = json.loads(paths.QUANTIZE_METRICS.read_text())
    layers = {"hidden1": {"sqnr_db": 38.25}, "output": {"sqnr_db": 31.5}}
    files.write_json(paths.QUANTIZE_METRICS, {**metrics, "layers": layers})
    reader = read()
    assert "layers" in reader.ids
    assert "38.2 dB" in reader.words
    files.write_json(paths.QUANTIZE_METRICS, {key: value for key, value in metrics.items() if key != "layers"})
    assert "layers" not in read().ids


def test_a_noisy_run_says_so(ran):
    metrics = json.loads(paths.BENCHMARK_METRICS.read_text())
    for name, noisy in (("batch_1", False), ("batch_8", True)):
        metrics[name]["noisy"] = noisy
    files.write_json(paths.BENCHMARK_METRICS, metrics)
    assert "Noisy at batch 8: take these latencies as rough ones." in read().words


def test_words_from_the_machine_are_text_not_markup(ran):
    metrics = json.loads(paths.BENCHMARK_METRICS.read_text())
    metrics["host"]["cpu"] = "<script>alert('x')</script>"
    files.write_json(paths.BENCHMARK_METRICS, metrics)
    reader = read()
    assert "script" not in reader.tags
    assert "<script>alert('x')</script>" in reader.words


@pytest.mark.parametrize(
    ("path", "stage"), [(paths.BENCHMARK_METRICS, "benchmark"), (paths.HISTORY, "train"), (paths.TEST_DATA, "download")]
)
def test_a_missing_file_names_the_stage_that_makes_it(ran, path, stage):
    path.unlink()
    with pytest.raises(BadInput, match=rf"{path}: there is no such file; run: dvc repro {stage}"):
        page(load_parameters(paths.PARAMETERS))


def test_the_command_writes_a_small_file(ran):
    done = run(ran, sys.executable, "-m", "tools.report")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{REPORT}: ")
    assert (ran / REPORT).stat().st_size < 2_000_000
