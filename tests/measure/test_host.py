import os
import platform
import subprocess
import sys
from importlib.metadata import version

import pytest

from armdigits.measure import host

NEOVERSE_N1 = """processor\t: 0
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1
"""
EPYC = "processor\t: 0\nmodel name\t: AMD EPYC 7763 64-Core Processor\nflags\t\t: fpu avx2 avx512_vnni\n"


@pytest.mark.parametrize(
    ("cpuinfo", "name", "features"),
    [
        (NEOVERSE_N1, "Neoverse N1", {"asimd", "asimddp"}),
        ("model name\t: ARMv8 Processor rev 1 (v8l)\n" + NEOVERSE_N1, "Neoverse N1", {"asimd", "asimddp"}),
        (NEOVERSE_N1.replace("0xd0c", "0xfff"), "Arm part 0x41:0xfff", {"asimd", "asimddp"}),
        (EPYC, "AMD EPYC 7763 64-Core Processor", {"avx2", "avx512_vnni"}),
        ("", "unknown", set()),
    ],
)
def test_the_cpu_and_its_features_are_found_on_x86_and_on_arm(cpuinfo: str, name: str, features: set[str]) -> None:
    cpu, found = host._linux(cpuinfo)
    assert cpu == name
    assert found & set(host.FEATURES) == features


def test_a_mac_is_named_by_its_brand_and_arms_feature_names(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"machdep.cpu.brand_string": "Apple M2", "hw.optional.arm.FEAT_DotProd": "1"}

    def sysctl(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, answers.get(command[-1], "0") + "\n")

    monkeypatch.setattr(subprocess, "run", sysctl)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    identity = host.identify()
    assert (identity["cpu"], identity["features"]) == ("Apple M2", "asimddp")


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
