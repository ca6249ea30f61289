"""The stage that writes the C source."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from armdigits.core import files, paths
from armdigits.core.errors import Failure
from armdigits.core.shape import MNIST
from armdigits.csource import emulate, targets, toolchain
from armdigits.csource.generate import About
from armdigits.data.dataset import read_split
from armdigits.program import reference
from armdigits.program.contents import read_back
from stages import export
from tests.helpers import ROOT, run_stage_here, set_parameters

WRITTEN = [*export.FILES.values(), paths.EXPORT_METRICS, paths.EXPORT_DETAILS]


@pytest.fixture(scope="module")
def metrics(pipeline: Path) -> dict[str, Any]:
    return json.loads((pipeline / paths.EXPORT_METRICS).read_text("utf-8"))


@pytest.fixture(scope="module")
def details(pipeline: Path) -> dict[str, Any]:
    return json.loads((pipeline / paths.EXPORT_DETAILS).read_text("utf-8"))


def test_all_logits_are_equal_on_this_machine_and_on_every_target(
    metrics: dict[str, Any], details: dict[str, Any]
) -> None:
    compared = {
        name: figures["compared"]
        for name, figures in details.items()
        if isinstance(figures, dict) and "compared" in figures
    }
    assert compared == {"this_machine": 2 * 3600, **dict.fromkeys(toolchain.TARGETS, 3600)}
    assert metrics["equal_logits"] == details["compared"] == sum(compared.values())


def test_the_metrics_have_the_figures_of_the_chosen_targets_and_the_details_those_of_all(
    pipeline: Path, metrics: dict[str, Any], details: dict[str, Any]
) -> None:
    assert list(metrics) == ["equal_logits", "aarch64_dotprod", "cortex_m4"]
    assert details["source_bytes"] == sum((pipeline / path).stat().st_size for path in (paths.C_HEADER, paths.C_SOURCE))
    for name in ("aarch64_dotprod", "cortex_m4"):
        target = details[name]
        assert metrics[name] == {
            "bytes": target["code_bytes"] + target["constant_bytes"],
            "ram": target["stack_bytes"],  # there are no variables
            "instructions": target["instructions"],
        }
    for name in toolchain.TARGETS:
        assert 10_000 < details[name]["instructions"] < details[name]["max_instructions"] < 1_000_000


def test_flash_and_stack_stay_within_the_promise(details: dict[str, Any]) -> None:
    assert all(details[name]["code_bytes"] + details[name]["constant_bytes"] <= 112_000 for name in toolchain.TARGETS)
    assert all(1000 < details[name]["stack_bytes"] <= 4096 for name in toolchain.TARGETS)


@pytest.fixture
def fast(ran: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The small project without what the stage wrote, with one target, which is a metric."""
    for path in WRITTEN:
        path.unlink()
    set_parameters(ran, {"export.targets": "[wasm32]"})
    monkeypatch.setattr(toolchain, "TARGETS", {"wasm32": toolchain.TARGETS["wasm32"]})
    return ran


def written() -> list[Path]:
    return [path for path in WRITTEN if path.exists()]


def test_a_logit_that_differs_fails_the_stage_which_writes_nothing(
    fast: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = export.sources

    def damaged(*arguments: Any) -> dict[str, str]:
        source = sources(*arguments)
        return {**source, "digits.c": source["digits.c"].replace("x * a[o] + y * b[o]", "x * a[o] - y * b[o]")}

    monkeypatch.setattr(export, "sources", damaged)
    assert run_stage_here("export") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("export: this_machine: ") and first.endswith(f"differ from those of {paths.INT8_PROGRAM}")
    assert second.startswith("export: wasm32: ")
    assert written() == []


def test_a_target_without_its_emulator_is_left_out_and_named(
    fast: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(emulate, "missing", lambda _: "wasmtime")
    assert run_stage_here("export") == 0
    assert "wasm32: left out, as the package wasmtime is not installed" in capsys.readouterr().out
    assert json.loads(paths.EXPORT_DETAILS.read_text("utf-8"))["left_out"] == {"wasm32": "wasmtime"}
    assert "wasm32" not in json.loads(paths.EXPORT_METRICS.read_text("utf-8"))
    assert written() == WRITTEN


def test_a_disk_that_fills_up_is_one_line_and_no_source_is_written(
    fast: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flush, calls = os.fsync, iter(range(100))

    def full(file: int) -> None:
        if next(calls) == 2:  # two of the four files are on the disk
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(file)

    monkeypatch.setattr(os, "fsync", full)
    assert run_stage_here("export") == 1
    expected = f"export: {paths.C_EXAMPLE}: No space left on device; nothing was left half-written\n"
    assert capsys.readouterr().err == expected
    assert written() == []
    assert [path.name for path in paths.C_SOURCE.parent.iterdir()] == [".gitignore"]


def test_no_compiler_is_one_line_and_nothing_is_written(
    fast: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(toolchain, "installed", lambda: False)
    assert run_stage_here("export") == 1
    message = "ziglang: no compiler, as the package is not installed; run: pip install ziglang"
    assert capsys.readouterr().err == f"export: {message}\n"
    assert written() == []


def test_a_damaged_program_is_one_line_and_nothing_is_written(fast: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths.INT8_PROGRAM.write_bytes(paths.INT8_PROGRAM.read_bytes()[:-1])
    assert run_stage_here("export") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert written() == []


def test_a_foreign_program_is_one_line_and_nothing_is_written(fast: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("dvc.lock").unlink()
    content = paths.FP32_PROGRAM.read_bytes()
    paths.INT8_PROGRAM.write_bytes(content)
    record = json.loads(paths.PROGRAM_RECORD.read_text("utf-8"))
    record["programs_sha256"][paths.INT8_PROGRAM.name] = files.sha256(content)
    paths.PROGRAM_RECORD.write_text(json.dumps(record), "utf-8")
    assert run_stage_here("export") == 2
    assert capsys.readouterr().err.startswith("export: C source: expected layers between two conversions")
    assert written() == []


def test_a_name_that_closes_the_comment_stays_in_it(fast: Path) -> None:
    Path("dvc.lock").unlink()
    record = json.loads(paths.PROVENANCE.read_text("utf-8"))
    del record["sha256"]
    record["name"] = '*/\n#error "code from a record"\n/*'
    paths.PROVENANCE.write_text(json.dumps({**record, "sha256": files.sha256(json.dumps(record).encode())}), "utf-8")
    assert run_stage_here("export") == 0
    assert "trained on * / #error" in paths.C_SOURCE.read_text("utf-8")


def test_a_compiler_that_fails_is_reported_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "digits.c").write_text("int main(void) { return nothing; }\n", "utf-8")
    with pytest.raises(Failure, match="^ziglang: the compiler fails: [^\n]*undeclared[^\n]*$"):
        toolchain.compile_files([tmp_path / "digits.c"], tmp_path / "out", [])


def test_results_count_logits_by_their_bits() -> None:
    found = np.array([[0.0, 1.0, np.nan]], np.float32)
    assert targets._equal(found, np.array([[-0.0, 1.0, np.nan]], np.float32)) == 2


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / paths.INT8_PROGRAM).exists(), reason="the pipeline has not run here")
def test_all_test_images_give_equal_logits_on_every_target(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    program = read_back(paths.INT8_PROGRAM.read_bytes(), paths.INT8_PROGRAM)
    test = read_split(paths.TEST_DATA)
    expected = reference.activations(program, test.pixels().numpy())[-1]
    source = export.sources(program, About("all images", MNIST, "ink", (), "of all", "0" * 64))
    runs, _ = targets.run_everywhere(source, test.images.numpy(), expected, len(test))
    assert {name: result.equal for name, result in runs.items() if name != targets.HOST} == dict.fromkeys(
        toolchain.TARGETS, 10 * len(test)
    )
