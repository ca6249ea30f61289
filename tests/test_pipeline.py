"""dvc.yaml against the code: DVC tracks only what is listed there."""

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from armdigits.core import paths, records
from armdigits.core.parameters import Parameters
from tests.helpers import ROOT, run
from tests.test_layout import imports

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text("utf-8"))
STAGES = PIPELINE["stages"]
WITH_DEPS = [name for name in STAGES if "deps" in STAGES[name]]


def imported_modules(*scripts: str) -> set[str]:
    """The project's modules that scripts import, directly or through others: {"armdigits/core/files.py", ...}."""
    found, left = set(scripts), list(scripts)
    while left:
        for name in imports(ROOT / left.pop()):
            path = str(Path(*name.split(".")).with_suffix(".py"))
            if (ROOT / path).exists() and path not in found:
                found.add(path)
                left.append(path)
    return found


def modules_used(name: str) -> set[str]:
    """The modules of a stage, including the launcher that its command names."""
    started = re.findall(r"-m ([\w.]+)", STAGES[name]["cmd"])
    return imported_modules(*(f"{module.replace('.', '/')}.py" for module in started))


def covers(dep: str, module: str) -> bool:
    return module == dep or module.startswith(f"{dep}/")


def attributes(tree: ast.AST) -> set[str]:
    """Every dotted name in the code: {"parameters.train.threads", "paths.MODEL", ...}."""
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def parameters_read(script: Path) -> set[str]:
    """The parameters that a script uses: `parameters.train.threads`, or a whole section that it passes on."""
    used = {
        name for name in attributes(ast.parse((ROOT / script).read_text("utf-8"))) if name.startswith("parameters.")
    }
    longest = {name for name in used if not any(other.startswith(f"{name}.") for other in used)}
    return {name.removeprefix("parameters.") for name in longest}


# Packages and modules that take long to import, and the stages that need them, beside torch.
HEAVY = {
    "executorch.exir": {"quantize", "export"},
    "matplotlib": {"teach", "evaluate", "quantize", "benchmark"},
    "scipy.stats": {"download", "evaluate"},  # scikit-learn imports it
    "sklearn": {"download", "evaluate"},
    "torch": {*WITH_DEPS, "preflight"},  # preflight builds the network of code that is new
    "torch._dynamo": {"quantize", "export"},  # torch's compiler; ExecuTorch imports it
    "torchao": {"quantize", "export"},
    "torchvision": set(),  # reads MNIST; the tests' pipeline runs on the digits
}


@pytest.mark.parametrize("module", HEAVY)
def test_only_stages_that_use_it_import_what_takes_long(pipeline, module):
    """At any time while they run, not only when they start."""
    imported = {path.name: path.read_text("utf-8").split() for path in pipeline.with_name("imports").iterdir()}
    assert set(imported) == set(STAGES)
    assert {name for name, modules in imported.items() if module in modules} == HEAVY[module]


def outs(stage: dict) -> dict[str, dict]:
    """Path -> options of everything that a stage writes."""
    entries = [*stage.get("outs", []), *stage.get("metrics", []), *stage.get("plots", [])]
    return {
        key: value for entry in entries for key, value in (entry if isinstance(entry, dict) else {entry: {}}).items()
    }


@pytest.mark.parametrize("name", WITH_DEPS)
def test_every_module_that_a_stage_uses_is_covered_by_its_deps(name):
    deps = STAGES[name]["deps"]
    assert not {module for module in modules_used(name) if not any(covers(dep, module) for dep in deps)}


@pytest.mark.parametrize("name", WITH_DEPS)
def test_a_stage_uses_every_module_that_it_lists_and_at_least_half_of_every_folder(name):
    used = modules_used(name)
    for dep in STAGES[name]["deps"]:
        if dep.startswith(("armdigits/", "stages/")):
            modules = {str(path.relative_to(ROOT)) for path in (ROOT / dep).rglob("[!_]*.py")} or {dep}
            assert len(modules & used) >= len(modules) / 2, f"{dep}: only {modules & used} is used"


def test_only_download_runs_again_when_a_source_changes():
    changed = "armdigits/data/sources.py"
    assert [name for name in WITH_DEPS if any(covers(dep, changed) for dep in STAGES[name]["deps"])] == ["download"]


@pytest.mark.parametrize("name", STAGES)
def test_every_parameter_that_a_stage_reads_is_declared(name):
    declared = set(STAGES[name].get("params", []))
    read = parameters_read(Path(f"stages/{name}.py")) | {"compute"}  # core/start.py reads it
    declared |= {"compute"}
    assert all(key in declared or key.split(".")[0] in declared for key in read), f"{read} against {declared}"
    assert all(any(key.split(".")[0] == known.split(".")[0] for key in read) for known in declared), "never read"


def test_every_section_is_a_parameter_of_its_stage():
    owners = {"compute": "train", "dataset": "download", "augmentation": "teach", "model": "train"}
    for section in Parameters.model_fields:
        assert section in STAGES[owners.get(section, section)]["params"]


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_is_a_script_that_is_run_as_a_module(name):
    assert STAGES[name]["cmd"].endswith(f"-m stages.{name}")
    assert f'stage.run("{name}", main)' in (ROOT / f"stages/{name}.py").read_text("utf-8")


NAMED = {  # files that a stage does not read: it needs their names
    "describe": {
        str(path) for path in (paths.TRAIN_DATA, paths.VALIDATION_DATA, paths.FP32_PROGRAM, paths.INT8_PROGRAM)
    }
}


@pytest.mark.parametrize("name", STAGES)
def test_the_paths_in_a_stages_code_are_its_deps_or_outs(name):
    stage = STAGES[name]
    code = ast.parse((ROOT / f"stages/{name}.py").read_text("utf-8"))
    names = {match[1] for text in attributes(code) if (match := re.match(r"paths\.([A-Z0-9_]+)", text))}
    used = {str(getattr(paths, name)) for name in names}
    local = {path for path in used if path.startswith(".state/")}
    assert used - local - NAMED.get(name, set()) <= {*stage.get("deps", []), *outs(stage)}
    assert set(outs(stage)) <= used | {str(paths.PROVENANCE), str(paths.PROGRAM_RECORD), str(paths.CHECKSUMS)}, (
        "nothing writes it"
    )


@pytest.mark.parametrize("path", [path for stage in STAGES.values() for path in outs(stage)])
def test_an_out_is_either_cached_by_dvc_and_ignored_by_git_or_kept_in_git(path):
    options = next(outs(stage)[path] for stage in STAGES.values() if path in outs(stage))
    if not (ROOT / ".git").exists():
        pytest.skip("not a Git checkout")
    ignored = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode == 0
    assert ignored is options.get("cache", True)


def test_timings_are_never_replayed():
    """A plain out that is not cached turns off DVC's run cache; a new host record makes the benchmark run again."""
    benchmark = STAGES["benchmark"]
    assert {"metrics/benchmark.json": {"cache": False}} in benchmark["outs"]
    assert "metrics" not in benchmark
    assert str(paths.HOST) in benchmark["deps"]
    assert STAGES["preflight"]["always_changed"] is True
    assert not any(str(paths.HOST) in stage.get("deps", []) for name, stage in STAGES.items() if name != "benchmark")


@pytest.mark.parametrize("name", ["download", "teach", "train", "evaluate", "quantize", "describe"])
def test_a_deterministic_stage_keeps_the_run_cache(name):
    """`metrics` and `plots` that are not cached keep it, plain outs that are not cached turn it off."""
    assert not any(isinstance(entry, dict) for entry in STAGES[name].get("outs", []))


METRICS = {  # the documented keys; `dvc metrics show` has a column for each, and one for the path
    "train.json": "dataset parameters train_loss validation_loss validation_accuracy",
    "evaluate.json": "accuracy loss macro_f1",
    "quantize.json": "fp32.accuracy int8.accuracy int8.bytes agreement",
    "export.json": "equal_logits aarch64_dotprod.bytes aarch64_dotprod.ram aarch64_dotprod.instructions "
    "cortex_m4.bytes cortex_m4.ram cortex_m4.instructions",
    "benchmark.json": "batch_1.int8.p50_us batch_1.c.p50_us batch_1.int8_over_eager.ratio batch_1.c_over_int8.ratio "
    "batch_8.int8_over_eager.ratio batch_8.c_over_int8.ratio control",
}


def test_dvcs_metrics_have_the_documented_keys_and_fit_27_columns(pipeline):
    done = run(pipeline, "dvc", "metrics", "show", "--json")
    shown = json.loads(done.stdout)[""]["data"]
    found = {path: list(records.Metrics.model_validate(file["data"]).flat()) for path, file in shown.items()}
    assert found == {f"metrics/{name}": keys.split() for name, keys in METRICS.items()}
    header = run(pipeline, "dvc", "metrics", "show", "--md").stdout.splitlines()[0]
    assert len(header.strip("|").split("|")) <= 27


def test_the_artifacts_are_outs_of_the_pipeline():
    written = {path for stage in STAGES.values() for path in outs(stage)}
    for artifact in PIPELINE["artifacts"].values():
        assert artifact["path"] in written
        assert set(artifact) == {"path", "type", "desc", "labels"}


def test_the_artifacts_are_listed_in_the_docs_and_described_for_any_data_set():
    page = (ROOT / "docs" / "more-machines.md").read_text("utf-8")
    for name, artifact in PIPELINE["artifacts"].items():
        assert f"`{name}`" in page
        assert not re.search(r"mnist|28|784", " ".join([*artifact["labels"], artifact["desc"]])), "no data set, no size"
