"""README.md, CONTRIBUTING.md and docs/: what they name exists."""

import re
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from armdigits.cli import VERBS
from tests.helpers import PARAMETERS, ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README = (ROOT / "README.md").read_text("utf-8")
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))["stages"]
KEYS = yaml.safe_load(PARAMETERS.read_text("utf-8"))
MAKE_VERBS = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
SUFFIXES = {".py", ".md", ".json", ".csv", ".yaml", ".yml", ".toml", ".txt", ".lock", ".png", ".pte", ".safetensors"}
# What commands write that are no stages.
WRITTEN = {
    ".state",
    ".dvc/tmp",
    ".dvc/tmp/exps",
    "report/index.html",
    "report/draw.html",
    "dvc_plots/index.html",
    "experiments.json",
}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def blocks(text: str) -> list[str]:
    """The fenced and the indented code blocks."""
    return re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL) + re.findall(
        r"^ {4}.+$", text, re.MULTILINE
    )


def prose(text: str) -> str:
    """The text without its fenced code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text: str) -> list[str]:
    """The code in backticks within the text."""
    return re.findall(r"`([^`]+)`", prose(text))


def commands(text: str) -> list[str]:
    """Every line of code, and the commands that print the figures, without comments."""
    lines = [line for block in blocks(text) for line in block.splitlines()]
    return [line.split("#")[0] for line in [*lines, *spans(text), *figure_commands(text)]]


def figure_commands(text: str) -> list[str]:
    """The commands in the comments before figures that were measured."""
    return re.findall(r"<!-- (?:figures|results): (.*) -->", text)


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings."""
    titles = re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def outs() -> dict[str, set[str]]:
    """The files that each stage writes."""
    found: dict[str, set[str]] = {}
    for name, stage in STAGES.items():
        entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
        found[name] = {path for entry in entries for path in (entry if isinstance(entry, dict) else [entry])}
    return found


def edges() -> set[tuple[str, str]]:
    """The stages of which one reads what the other writes."""
    return {(one, two) for one, files in outs().items() for two in STAGES if files & set(STAGES[two].get("deps", []))}


def is_path(code: str) -> bool:
    """Whether code in backticks looks like a path of the project; without a folder it needs a known suffix."""
    if not re.fullmatch(r"\.?\w[\w.*-]*(/[\w.*-]+)*/?", code):
        return False
    return "/" in code or Path(code).suffix in SUFFIXES


def exists(name: str) -> bool:
    """Whether the project has a file or folder of this name or pattern, or one of its commands writes it."""
    name = name.rstrip("/")
    written = [*WRITTEN, *(path for files in outs().values() for path in files)]
    if "/" in name or (ROOT / name).exists():
        return any(ROOT.glob(name)) or any(fnmatch(path, name) for path in written)
    sources = (
        path.name
        for folder in ("armdigits", "stages", "benchmarks", "tests", ".github")
        for path in (ROOT / folder).rglob("*")
    )
    return any(fnmatch(path, name) for path in [*(Path(path).name for path in written), *sources])


def test_the_readme_has_at_most_200_lines():
    assert len(README.splitlines()) <= 200


def test_the_readme_links_every_page():
    links = set(re.findall(r"\]\(([^)#]+)", README))
    assert {str(page.relative_to(ROOT)) for page in PAGES[1:]} <= links


def test_the_drawing_has_exactly_the_edges_of_dvc_yaml():
    (drawing,) = re.findall(r"^```mermaid\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    arrows = [line.split("-->") for line in drawing.splitlines() if "-->" in line]
    drawn = [(one.strip(), two.strip()) for ones, twos in arrows for one in ones.split("&") for two in twos.split("&")]
    assert sorted(drawn) == sorted(edges())


def test_the_readme_has_a_row_for_each_stage():
    assert re.findall(
        r"^\| (\w+) \| .*\| .*\|$", README.partition("| stage |")[2].partition("\n\n")[0], re.MULTILINE
    ) == list(STAGES)


def test_the_tree_of_the_readme_names_every_folder_of_the_package_and_nothing_that_does_not_exist():
    tree = README.partition("## Where things are")[2].partition("```\n")[2].partition("```")[0]
    inner = set(re.findall(r"^ {4}(\w+)/ ", tree, re.MULTILINE))
    assert inner == {path.parent.name for path in (ROOT / "armdigits").glob("*/__init__.py")}
    outer = [name for names in re.findall(r"^(\S.*?)  ", tree, re.MULTILINE) for name in names.split()]
    assert not [name for name in outer if not exists(name)]


@each_page
def test_every_relative_link_leads_to_a_file_and_a_heading(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page.read_text("utf-8"))):
        if not link.startswith(("http://", "https://")):
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target.read_text("utf-8")), link


@each_page
def test_every_path_in_backticks_exists_or_is_written_by_a_command(page):
    assert not [code for code in spans(page.read_text("utf-8")) if is_path(code) and not exists(code)]


@each_page
def test_every_verb_of_make_exists(page):
    for command in commands(page.read_text("utf-8")):
        for words in re.findall(r"(?:^|[ .&(])make((?: [\w=.<>-]+)+)", command):
            verbs = [word for word in words.split() if re.fullmatch("[a-z][a-z-]*", word)]
            assert verbs and set(verbs) <= MAKE_VERBS, command


@each_page
def test_every_verb_of_armdigits_exists(page):
    for command in commands(page.read_text("utf-8")):
        assert set(re.findall(r"(?:^|[ /])armdigits (\w+)", command)) <= set(VERBS), command


@each_page
def test_every_module_that_is_run_exists(page):
    for command in commands(page.read_text("utf-8")):
        for module in re.findall(r" -m ([a-z][\w.]*)", command):
            assert find_spec(module), command


@each_page
def test_every_parameter_exists(page):
    text = page.read_text("utf-8")
    keys = [key for code in spans(text) for key in re.findall(r"^(\w+\.\w+)(?:$|:|=)", code) if not is_path(key)]
    keys += [key for command in commands(text) for key in re.findall(r"(?:-S|experiment) (\w+\.\w+)=", command)]
    for section, name in (key.split(".") for key in keys if key.split(".")[0] in KEYS):
        assert name in KEYS[section], f"{section}.{name}"


@each_page
def test_every_measured_figure_has_an_end(page):
    marks = re.findall("^<!-- (figures: .+|end of figures) -->$", page.read_text("utf-8"), re.MULTILINE)
    assert [mark.partition(":")[0] for mark in marks] == ["figures", "end of figures"] * (len(marks) // 2)
