"""The layout of the code: folders whose imports go one way."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from tests.helpers import ROOT

ROOMS = sorted(path.parent.name for path in (ROOT / "armdigits").glob("*/__init__.py"))
OUTSIDE = ("stages", "benchmarks", "tests")


def imports(path: Path) -> set[str]:
    """The dotted names that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


def rooms_used(room: str) -> set[str]:
    """The other folders of the package that a folder imports."""
    names = {name for path in (ROOT / "armdigits" / room).glob("*.py") for name in imports(path)}
    return {parts[1] for name in names if (parts := name.split("."))[0] == "armdigits" and len(parts) > 1} - {room}


def test_no_folder_imports_one_that_imports_it():
    """Directly or through others: the folders can be put into an order in which imports go one way."""
    left = {room: rooms_used(room) for room in ROOMS}
    while left:
        free = [room for room, used in left.items() if not used & set(left)]
        assert free, f"these import each other: {sorted(left)}"
        left = {room: used for room, used in left.items() if room not in free}


def test_core_and_measure_import_nothing_else_of_the_package():
    assert rooms_used("core") == set()
    assert rooms_used("measure") <= {"core"}


@pytest.mark.parametrize("room", ROOMS)
def test_the_package_imports_neither_stages_nor_benchmarks_nor_tests(room):
    for path in (ROOT / "armdigits" / room).glob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & set(OUTSIDE), path


def test_only_the_front_imports_the_commands():
    users = {room for room in ROOMS if "cli" in rooms_used(room)}
    assert users == set()
    assert not any("armdigits.cli" in name for path in (ROOT / "stages").glob("*.py") for name in imports(path))


def test_private_names_of_torch_and_executorch_are_used_in_one_file_each():
    users = defaultdict(set)
    for path in [*(ROOT / "armdigits").rglob("*.py"), *(ROOT / "stages").glob("*.py")]:
        for name in ("_fused_adam_", "_portable_lib", "exir._serialize"):
            if any(name in line.split("#")[0] for line in code_lines(path)):
                users[name].add(path.name)
    assert users == {
        "_fused_adam_": {"fast_step.py"},
        "_portable_lib": {"runtime.py"},
        "exir._serialize": {"contents.py"},
    }


def code_lines(path: Path) -> list[str]:
    """The code of a file without docstrings and comments."""
    return ast.unparse(without_docstrings(ast.parse(path.read_text()))).splitlines()


def without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            body[0].value.value = ""
    return tree
