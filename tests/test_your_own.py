"""docs/your-own.md: its code, taken from the page, in a copy of the project, and the pipeline runs to its end."""

import json
import re
import shutil
from pathlib import Path

import pytest

from armdigits.core import paths
from tests.helpers import ROOT, copy_project, run

PAGE = (ROOT / "docs" / "your-own.md").read_text("utf-8")
SECTIONS = ("A network", "A loss", "A recipe", "A backend", "A name for the package")


def blocks(title: str) -> list[tuple[str, str]]:
    """Language and content of each block of code in a section of the page."""
    section = PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```(\w*)\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def change(project: Path, block: str) -> None:
    """Change a file as a block with the file's name in its first line says. Its old lines must be there, once."""
    head, *lines = block.splitlines()
    path = project / head.removeprefix("--- ")
    old, new = ("\n".join(line[1:] for line in lines if line[:1] in f" {mark}") for mark in "-+")
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{path}: {text.count(old)} times:\n{old}"
    path.write_text(text.replace(old, new), "utf-8")


def edit(project: Path, language: str, block: str) -> None:
    """Change or write the file that a block is about; commands are about none."""
    if language == "diff":
        change(project, block)
    elif language == "python":
        (project / block.splitlines()[0].removeprefix("# ")).write_text(block, "utf-8")


def follow(project: Path, title: str) -> list[str]:
    """Do what a section says; returns what its commands have printed."""
    printed = []
    commit(project)
    for language, block in blocks(title):
        edit(project, language, block)
        for command in [] if language else block.splitlines():
            done = run(project, "sh", "-c", command)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
            printed.append(done.stdout)
    return printed


def commit(project: Path) -> None:
    for command in (["git", "add", "."], ["git", "commit", "-q", "--allow-empty", "-m", "as the page says"]):
        assert run(project, *command).returncode == 0


def read(project: Path, path: Path) -> dict:
    content: dict = json.loads((project / path).read_text("utf-8"))
    return content


@pytest.mark.parametrize("title", SECTIONS)
def test_the_page_has_the_section_and_its_changes_are_valid_code(tmp_path: Path, title: str) -> None:
    copy_project(tmp_path / "project")
    assert blocks(title)
    for language, block in blocks(title):
        edit(tmp_path / "project", language, block)
    for path in (tmp_path / "project").rglob("*.py"):
        compile(path.read_text("utf-8"), path, "exec")


@pytest.mark.slow
def test_a_network(ran: Path) -> None:
    _, difference, _ = follow(ran, "A network")
    assert "98698" in difference, "dvc metrics diff shows the parameters of cnn beside those of mlp"
    assert read(ran, paths.TRAIN_METRICS)["parameters"] == 8 * 25 + 8 + 392 * 10 + 10
    assert list(read(ran, paths.QUANTIZE_DETAILS)["layers"]) == ["0", "5"]
    assert read(ran, paths.EXPORT_METRICS)["equal_logits"] == read(ran, paths.EXPORT_DETAILS)["compared"]
    assert "| `0` | `Conv2d(1, 8, kernel_size=(5, 5)" in (ran / paths.MODEL_CARD).read_text("utf-8")
    assert "c" in read(ran, paths.BENCHMARK_METRICS)["batch_1"]


@pytest.mark.slow
def test_a_loss(ran: Path) -> None:
    (printed,) = follow(ran, "A loss")
    assert "training with the plain step" in printed
    assert run(ran, "dvc", "status").stdout.split() == ["preflight:", "always", "changed"], "nothing else is to do"


@pytest.mark.slow
def test_a_recipe(ran: Path) -> None:
    *_, printed = follow(ran, "A recipe")
    assert "training with the plain step" in printed
    assert "schedule: linear" in (ran / paths.PARAMETERS).read_text("utf-8")


@pytest.mark.slow
def test_a_backend(ran: Path) -> None:
    follow(ran, "A backend")
    proofs = read(ran, paths.QUANTIZE_DETAILS)["proofs"]
    assert proofs["fp32"] == {"delegates": True, "products": True}
    assert all(proofs["int8"].values())
    assert read(ran, paths.QUANTIZE_METRICS)["fp32"]["accuracy"] > 0.8


def test_the_style_is_right_after_the_package_got_another_name(tmp_path: Path) -> None:
    for name in ("armdigits", "stages", "benchmarks", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for words in ("init -q", "config user.name t", "config user.email t@x.invalid"):
        run(tmp_path, "git", *words.split())
    follow(tmp_path, "A name for the package")
    for words in ("check", "format --check"):
        done = run(tmp_path, "ruff", *words.split())
        assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_a_name_for_the_package(ran: Path) -> None:
    for name in ("pyproject.toml", "Makefile", "README.md"):
        shutil.copy(ROOT / name, ran / name)
    follow(ran, "A name for the package")
    assert run(ran, "git", "grep", "-l", "armdigits").stdout == ""
    done = run(ran, "dvc", "repro")
    assert done.returncode == 0, done.stdout + done.stderr
    shown = run(ran, "python", "-c", "from letters.cli import main; main(['results'])")
    assert shown.returncode == 0 and "int8 program" in shown.stdout, shown.stderr
