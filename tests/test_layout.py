"""The layout of the code: folders whose imports go one way."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from tests.helpers import ROOT

FOLDERS = sorted(path.parent.name for path in (ROOT / "armdigits").glob("*/__init__.py"))
MODULES_THAT_OPEN = {"Image", "gzip", "os"}  # bytes or pictures, by default
OUTSIDE = ("stages", "benchmarks", "tests")


def imports(path: Path) -> set[str]:
    """The dotted names that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def folders_used(folder: str) -> set[str]:
    """The other folders of the package that a folder imports."""
    names = {name for path in (ROOT / "armdigits" / folder).rglob("*.py") for name in imports(path)}
    return {parts[1] for name in names if (parts := name.split("."))[0] == "armdigits" and len(parts) > 1} - {folder}


def test_no_folder_imports_one_that_imports_it():
    """Directly or through others: the folders can be put into an order in which imports go one way."""
    left = {folder: folders_used(folder) for folder in FOLDERS}
    while left:
        free = [folder for folder, used in left.items() if not used & set(left)]
        assert free, f"these import each other: {sorted(left)}"
        left = {folder: used for folder, used in left.items() if folder not in free}


def test_core_and_measure_import_nothing_else_of_the_package():
    assert folders_used("core") == set()
    assert folders_used("measure") <= {"core"}


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_package_imports_neither_stages_nor_benchmarks_nor_tests(folder):
    for path in (ROOT / "armdigits" / folder).rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & set(OUTSIDE), path


def test_neither_the_package_nor_the_stages_import_the_commands():
    assert not [folder for folder in FOLDERS if "cli" in folders_used(folder)]
    assert not any("armdigits.cli" in name for path in (ROOT / "stages").glob("*.py") for name in imports(path))


@pytest.mark.parametrize("folder", ["armdigits", *OUTSIDE, ".ci"])
def test_text_is_read_and_written_in_an_encoding_that_is_named(folder):
    """The locale's encoding is another one on another machine."""
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                assert names_its_encoding(node), f"{path}:{node.lineno}"


def names_its_encoding(call: ast.Call) -> bool:
    """Whether a call opens no text, or says in which encoding."""
    keywords = {keyword.arg for keyword in call.keywords}
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    mode = "".join(str(argument.value) for argument in call.args if isinstance(argument, ast.Constant))
    if name in ("read_text", "write_text"):
        return "encoding" in keywords or mode.endswith("utf-8")
    is_text = name == "open" and getattr(getattr(call.func, "value", None), "id", "") not in MODULES_THAT_OPEN
    return not is_text or "b" in mode or "encoding" in keywords


def test_private_names_of_torch_and_executorch_are_used_in_one_file_each():
    users = defaultdict(set)
    for path in [*(ROOT / "armdigits").rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        for name in ("_fused_adam_", "_portable_lib", "exir._serialize"):
            if name in code(path):
                users[name].add(path.name)
    assert users == {
        "_fused_adam_": {"fast_step.py"},
        "_portable_lib": {"runtime.py"},
        "exir._serialize": {"contents.py"},
    }


def code(path: Path) -> str:
    """The code of a file without comments and docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = ""
    return ast.unparse(tree)
