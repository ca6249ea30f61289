"""Counting instructions, on functions whose instructions can be counted by hand."""

from pathlib import Path

import numpy as np
import pytest

from armdigits.csource import binding, emulate, toolchain

FIRST_PIXEL = "void digits_logits(const unsigned char *image, float *logits) { logits[0] = (float)image[0]; }\n"
REMEMBERS = (
    "static int calls;\nvoid digits_logits(const unsigned char *i, float *l) { l[0] = (float)(i[0] + calls++); }\n"
)
INSTRUCTIONS = {"x86_64": range(4, 7), "aarch64": range(4, 5), "cortex_m4": range(5, 7), "wasm32": range(5, 7)}
IMAGES = np.array([[7, 1], [200, 2]], np.uint8)


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("counter")
    toolchain.write({"counter.c": emulate.COUNTER_SOURCE}, folder)
    toolchain.compile_files([folder / "counter.c"], folder / "counter.so", ["-O2", *binding.SHARED])
    return folder / "counter.so"


@pytest.mark.parametrize("name", INSTRUCTIONS)
def test_a_function_of_a_few_instructions_runs_and_is_counted(name: str, counter: Path) -> None:
    target = toolchain.TARGETS[name]
    content = toolchain.compile_target({"digits.c": FIRST_PIXEL}, target)
    done = emulate.run(target.machine, content, IMAGES, 1, counter)
    assert done.logits.tolist() == [[7.0], [200.0]]
    assert set(done.instructions.tolist()) <= set(INSTRUCTIONS[name])
    assert 0 < done.code < 200
    assert done.variables == 0
    assert done.stack <= 16


@pytest.mark.parametrize("name", ["aarch64", "cortex_m4"])
def test_static_variables_are_seen(name: str, counter: Path) -> None:
    target = toolchain.TARGETS[name]
    done = emulate.run(target.machine, toolchain.compile_target({"digits.c": REMEMBERS}, target), IMAGES, 1, counter)
    assert done.variables == 4


def test_a_machine_whose_package_is_missing_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert emulate.missing("wasm32") is None
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert [emulate.missing(machine) for machine in ("wasm32", "cortex-m4")] == ["wasmtime", "unicorn"]
