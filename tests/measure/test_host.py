import os
import platform
import subprocess
import sys
from importlib.metadata import version

import pytest

from armdigits.measure import host


def test_identify_gives_equal_answers_on_one_machine() -> None:
    assert host.identify() == host.identify()
    assert host.identify()["arch"] == platform.machine()
    assert host.identify()["torch"] == version("torch")


def test_identify_imports_no_torch() -> None:
    code = "import sys; from armdigits.measure import host; host.identify(); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_conditions_are_the_kernel_and_the_load() -> None:
    conditions = host.conditions()
    assert conditions["kernel"] == platform.release()
    assert float(conditions["load"]) >= 0


def test_cores_counts_those_that_the_process_may_use() -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot bind a process to cores")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert host.identify()["cores"] == 1
    finally:
        os.sched_setaffinity(0, before)
