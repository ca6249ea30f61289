"""The CPU, and which of its instructions the stages compute with.

Wider instructions add numbers up in another order, each sum is rounded, and training amplifies the difference: with
AVX-512 another model comes out than with AVX2. So on x86-64 all stages but the benchmark are held to AVX2, which gives
the same bits on all of AMD's CPUs. Intel's differ: MKL, in which torch multiplies matrices, has other code for them.
"""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

# CPU names by (implementer, part) of Arm's MIDR_EL1 register; /proc/cpuinfo has only these numbers.
ARM_PARTS = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse N1",
    ("0x41", "0xd40"): "Neoverse V1",
    ("0x41", "0xd49"): "Neoverse N2",
    ("0x41", "0xd4f"): "Neoverse V2",
    ("0x41", "0xd84"): "Neoverse V3",
    ("0x41", "0xd8e"): "Neoverse N3",
    ("0xc0", "0xac3"): "Ampere-1",
    ("0xc0", "0xac4"): "Ampere-1a",
}
MAC_FLAGS = {"asimd": "AdvSIMD", "asimddp": "FEAT_DotProd", "i8mm": "FEAT_I8MM"}  # macOS names of Arm's features
AVX2 = {  # read when torch is imported
    "ATEN_CPU_CAPABILITY": "avx2",  # torch's own loops
    "ONEDNN_MAX_CPU_ISA": "AVX2",  # convolutions
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",  # products of matrices
}
NATIVE = "native"
PROMISED = "avx2 AuthenticAMD"  # seen to be the same bits on CPUs with and without AVX-512


class Processor(NamedTuple):
    """The name of the CPU, its vendor (empty on Arm), and all of its features."""

    name: str
    vendor: str
    features: frozenset[str]


@cache
def processor() -> Processor:
    """The CPU of this machine."""
    return _mac() if platform.system() == "Darwin" else _linux(Path("/proc/cpuinfo").read_text(encoding="utf-8"))


def hold_to(instructions: str) -> None:
    """Hold torch to `avx2`, where the CPU has it, or to nothing (`native`). Call it before torch is imported."""
    if instructions == "avx2" and "avx2" in processor().features:
        os.environ.update(AVX2)


def bits(instructions: str, device: str) -> str:
    """Whose bits the results have: AVX2's on a vendor's CPUs, as `PROMISED`, or `native`, this machine's own."""
    held = device == "cpu" and instructions == "avx2" and "avx2" in processor().features
    return f"avx2 {processor().vendor}" if held else NATIVE


def explained(instructions: str, device: str) -> str:
    """The same as a sentence for the log."""
    found = bits(instructions, device)
    if found == PROMISED:
        return f"results: {found}, the same bits on every AMD CPU with AVX2"
    if found == NATIVE and device == "cpu" and instructions == "avx2":
        return f"results: the bits of this CPU alone, {processor().name}, which has no AVX2"
    return f"results: {found}, bits of this kind of machine alone"


def _linux(cpuinfo: str) -> Processor:
    """The first core in the text of /proc/cpuinfo."""
    core: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        core.setdefault(key.strip(), value.strip())
    features = frozenset((core.get("flags") or core.get("Features") or "").split())
    implementer, part = core.get("CPU implementer", ""), core.get("CPU part", "")
    # Before "model name", which some Arm kernels set to "ARMv8 Processor rev 1 (v8l)" for every CPU.
    arm = part and ARM_PARTS.get((implementer, part), f"Arm part {implementer}:{part}")
    return Processor(arm or core.get("model name", "unknown"), core.get("vendor_id", ""), features)


def _mac() -> Processor:
    def sysctl(name: str) -> str:
        done = subprocess.run(["sysctl", "-n", name], capture_output=True, encoding="utf-8", check=False)
        return done.stdout.strip()

    features = frozenset(name for name, flag in MAC_FLAGS.items() if sysctl(f"hw.optional.arm.{flag}") == "1")
    return Processor(sysctl("machdep.cpu.brand_string"), "", features)
