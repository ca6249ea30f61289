import os
import platform
import subprocess
import sys
from collections.abc import Callable

import pytest

from armdigits.core import cpu

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
AMD = "vendor_id\t: AuthenticAMD\n" + EPYC


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
    found = cpu._linux(cpuinfo)
    assert found.name == name
    assert found.features & {"avx2", "avx512_vnni", "asimd", "asimddp"} == features


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that makes this machine one with the given text of /proc/cpuinfo."""

    def set_cpuinfo(text: str) -> None:
        monkeypatch.setattr(cpu, "processor", lambda: cpu._linux(text))

    for name in cpu.AVX2:
        monkeypatch.setenv(name, "unset")
    return set_cpuinfo


@pytest.mark.parametrize(
    ("cpuinfo", "instructions", "device", "bits"),
    [
        (AMD, "avx2", "cpu", "avx2 AuthenticAMD"),
        (AMD.replace("AuthenticAMD", "GenuineIntel"), "avx2", "cpu", "avx2 GenuineIntel"),
        (AMD, "native", "cpu", "native"),
        (AMD, "avx2", "cuda", "native"),
        (AMD.replace("avx2", "avx"), "avx2", "cpu", "native"),
        (NEOVERSE_N1, "avx2", "cpu", "native"),
    ],
)
def test_results_have_the_bits_of_a_vendor_or_of_one_machine(
    machine: Callable[[str], None], cpuinfo: str, instructions: str, device: str, bits: str
) -> None:
    machine(cpuinfo)
    assert cpu.bits(instructions, device) == bits


@pytest.mark.parametrize(
    ("cpuinfo", "line"),
    [
        (AMD, "results: avx2 AuthenticAMD, the same bits on every AMD CPU with AVX2"),
        (AMD.replace("AuthenticAMD", "GenuineIntel"), "results: avx2 GenuineIntel, bits of this kind of machine alone"),
        (
            AMD.replace("avx2", "avx"),
            "results: the bits of this CPU alone, AMD EPYC 7763 64-Core Processor, which has no AVX2",
        ),
    ],
)
def test_the_log_says_whose_bits_they_are(machine: Callable[[str], None], cpuinfo: str, line: str) -> None:
    machine(cpuinfo)
    assert cpu.explained("avx2", "cpu") == line


def test_torch_is_held_to_avx2_where_the_cpu_has_it_and_the_parameter_says_so(
    machine: Callable[[str], None],
) -> None:
    for cpuinfo, instructions, held in ((NEOVERSE_N1, "avx2", False), (AMD, "native", False), (AMD, "avx2", True)):
        machine(cpuinfo)
        cpu.hold_to(instructions)
        assert (os.environ["ATEN_CPU_CAPABILITY"] == "avx2") is held


@pytest.mark.skipif("avx2" not in cpu.processor().features, reason="this CPU has no AVX2")
def test_torch_computes_with_avx2_after_it_was_held_to_it() -> None:
    code = "from armdigits.core import cpu; cpu.hold_to('avx2'); import torch; print(torch.__config__.show())"
    free = {name: value for name, value in os.environ.items() if name not in cpu.AVX2}
    done = subprocess.run([sys.executable, "-c", code], env=free, capture_output=True, encoding="utf-8", check=True)
    assert "CPU capability usage: AVX2\n" in done.stdout


def test_a_mac_is_named_by_its_brand_and_arms_feature_names(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"machdep.cpu.brand_string": "Apple M2", "hw.optional.arm.FEAT_DotProd": "1"}

    def sysctl(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, 0, answers.get(command[-1], "0") + "\n")

    monkeypatch.setattr(subprocess, "run", sysctl)
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    cpu.processor.cache_clear()
    assert cpu.processor() == ("Apple M2", "", {"asimddp"})
    cpu.processor.cache_clear()
