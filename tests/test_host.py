import os
import platform

import pytest

from armdigits import host

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
def test_the_cpu_is_named_on_x86_and_on_arm(cpuinfo, name, features):
    cpu, found = host._linux(cpuinfo)
    assert cpu == name
    assert found & set(host.FEATURES) == features


def test_the_same_machine_is_described_in_the_same_words():
    assert host.identify() == host.identify()
    assert host.identify()["arch"] == platform.machine()
    assert host.identify()["torch"].startswith("2.13.0")


def test_the_cores_are_those_that_the_process_may_use():
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("this system cannot bind a process to cores")
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert host.identify()["cores"] == 1
    finally:
        os.sched_setaffinity(0, before)
