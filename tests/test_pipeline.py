"""The contract between dvc.yaml and the code: DVC knows only what stands in dvc.yaml."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from armdigits import paths
from armdigits.parameters import Parameters
from tests.conftest import ROOT

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = PIPELINE["stages"]


def imported_modules(script: Path) -> set[str]:
    """The project's modules that a script imports, directly or through others: {"armdigits/files.py", ...}."""
    found: set[str] = set()
    left = [script]
    while left:
        for node in ast.walk(ast.parse((ROOT / left.pop()).read_text())):
            names = []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            for name in names:
                path = Path(*name.split(".")).with_suffix(".py")
                if (ROOT / path).exists() and str(path) not in found:
                    found.add(str(path))
                    left.append(path)
    return found


def attributes(tree: ast.AST) -> set[str]:
    """Every dotted name in the code: {"parameters.train.threads", "paths.MODEL", ...}."""
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def read_parameters(script: Path) -> set[str]:
    """The parameters that a script reads: `parameters.train.threads`, or a whole section handed on as settings."""
    used = {name for name in attributes(ast.parse((ROOT / script).read_text())) if name.startswith("parameters.")}
    longest = {name for name in used if not any(other.startswith(f"{name}.") for other in used)}
    return {name.removeprefix("parameters.") for name in longest}


def outs(stage: dict) -> dict[str, dict]:
    """Path -> options of everything that a stage writes."""
    entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return {
        key: value for entry in entries for key, value in (entry if isinstance(entry, dict) else {entry: {}}).items()
    }


@pytest.mark.parametrize("name", STAGES)
def test_every_module_that_a_stage_imports_is_among_its_deps(name):
    script = Path(f"stages/{name}.py")
    if name == "preflight":
        pytest.skip("it runs every time, whatever changed")
    listed = {dep for dep in STAGES[name]["deps"] if dep.endswith(".py")}
    assert listed == imported_modules(script) | {str(script)}


@pytest.mark.parametrize("name", STAGES)
def test_every_parameter_that_a_stage_reads_is_declared(name):
    declared = set(STAGES[name].get("params", []))
    read = read_parameters(Path(f"stages/{name}.py"))
    assert all(key in declared or key.split(".")[0] in declared for key in read), f"{read} against {declared}"
    assert all(any(key.split(".")[0] == known.split(".")[0] for key in read) for known in declared), (
        "declared for nothing"
    )


def test_every_section_belongs_to_the_stage_of_its_name():
    owners = {"dataset": "download", "augmentation": "teach"}
    for section in Parameters.model_fields:
        assert section in STAGES[owners.get(section, section)]["params"]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_a_script_that_is_run_as_a_module(name):
    assert STAGES[name]["cmd"] == f"python -m stages.{name}"
    assert f'stage.run("{name}", main' in (ROOT / f"stages/{name}.py").read_text()


@pytest.mark.parametrize("name", STAGES)
def test_the_paths_in_the_code_are_deps_or_outs(name):
    """What a stage's script names of the table of paths stands in dvc.yaml, and nothing else does."""
    stage = STAGES[name]
    code = ast.parse((ROOT / f"stages/{name}.py").read_text())
    names = {match[1] for text in attributes(code) if (match := re.match(r"paths\.([A-Z0-9_]+)", text))}
    used = {str(getattr(paths, name)) for name in names}
    local = {path for path in used if path.startswith(".state/")}
    listed = {*stage.get("deps", []), *outs(stage)}
    assert used - local <= listed
    assert set(outs(stage)) <= used | {str(paths.PROVENANCE), str(paths.PROGRAMS)}, "an out that nothing writes"


@pytest.mark.parametrize("path", [path for stage in STAGES.values() for path in outs(stage)])
def test_every_out_is_ignored_by_git_or_kept_in_it_on_purpose(path):
    options = next(outs(stage)[path] for stage in STAGES.values() if path in outs(stage))
    if not (ROOT / ".git").exists():
        pytest.skip("not a Git checkout")
    ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0
    in_git = not options.get("cache", True)
    assert ignored is not in_git, f"{path}: cache is {not in_git}, ignored by Git is {ignored}"
    assert in_git is (path.startswith("metrics/") and not path.endswith(".png")), (
        "metrics in Git, the rest in DVC's cache"
    )


def test_timings_are_never_replayed():
    """A plain out without cache switches DVC's run cache off; a new host record makes the benchmark run again."""
    benchmark = STAGES["benchmark"]
    assert {"metrics/benchmark.json": {"cache": False}} in benchmark["outs"]
    assert "metrics" not in benchmark
    assert str(paths.HOST) in benchmark["deps"]
    assert STAGES["preflight"]["always_changed"] is True
    assert not any(str(paths.HOST) in stage.get("deps", []) for name, stage in STAGES.items() if name != "benchmark")


def test_what_is_deterministic_keeps_the_run_cache():
    """`metrics` and `plots` without cache do, plain outs without cache do not."""
    for name in ("download", "teach", "train", "evaluate", "quantize"):
        plain = STAGES[name].get("outs", [])
        assert not any(isinstance(entry, dict) for entry in plain), f"{name}: a plain out with options"


def test_the_package_does_not_import_its_users():
    for module in (ROOT / "armdigits").glob("*.py"):
        text = module.read_text()
        assert not any(f"{word} {user}" in text for word in ("import", "from") for user in ("stages", "tools", "tests"))
