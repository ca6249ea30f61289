"""How a stage is prepared, whether Python starts it or launch.py."""

import json
import sys
from pathlib import Path

import pytest

from armdigits.core import cpu
from tests.helpers import copy_project, run, set_parameters

PROBE = """
import json, os, signal, sys
default = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
print(json.dumps([default, "torch" in sys.modules, os.environ["ATEN_CPU_CAPABILITY"], sys.argv[1:]]))
"""


@pytest.mark.parametrize("launcher", [(), ("-m", "armdigits.training.launch")])
@pytest.mark.parametrize(("name", "held"), [("probe", True), ("benchmark", False)])
def test_a_stage_but_the_benchmark_is_held_to_avx2_before_it_imports_torch(
    tmp_path: Path, name: str, held: bool, launcher: tuple[str, ...]
) -> None:
    project = copy_project(tmp_path)
    set_parameters(project, {"compute.instructions": "avx2"})
    (project / f"stages/{name}.py").write_text(PROBE, "utf-8")
    done = run(project, sys.executable, *launcher, "-m", f"stages.{name}", ATEN_CPU_CAPABILITY="unset")
    expected = "avx2" if held and "avx2" in cpu.processor().features else "unset"
    assert json.loads(done.stdout) == [True, False, expected, []], done.stderr
