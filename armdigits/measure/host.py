"""Identify the machine and the software, without which timings mean nothing."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

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
# Instruction sets that decide the speed of int8, as /proc/cpuinfo names them: x86's, then Arm's.
FEATURES = ("avx2", "avx512_vnni", "avx_vnni", "asimd", "asimddp", "i8mm", "sve", "sve2")
MAC_FLAGS = {"asimd": "AdvSIMD", "asimddp": "FEAT_DotProd", "i8mm": "FEAT_I8MM"}  # macOS names of Arm's
PACKAGES = ("torch", "executorch", "torchao")


def identify() -> dict[str, str | int]:
    """The machine and the software that decide timings. Equal from run to run on one machine; imports no torch."""
    cpu, features = processor()
    return {
        "cpu": cpu,
        "arch": platform.machine(),
        "features": " ".join(name for name in FEATURES if name in features),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": platform.system(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def processor() -> tuple[str, frozenset[str]]:
    """The name of the CPU, and all of its features."""
    cpu, features = _mac() if platform.system() == "Darwin" else _linux(Path("/proc/cpuinfo").read_text("utf-8"))
    return cpu, frozenset(features)


def conditions() -> dict[str, str | float]:
    """What differs from run to run on one machine: the kernel, and `load`, the average number of busy threads in the
    last minute.
    """
    return {"kernel": platform.release(), "load": round(os.getloadavg()[0], 2)}


def _linux(cpuinfo: str) -> tuple[str, set[str]]:
    """The name and the features of the first core in the text of /proc/cpuinfo."""
    core: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        core.setdefault(key.strip(), value.strip())
    features = set((core.get("flags") or core.get("Features") or "").split())
    implementer, part = core.get("CPU implementer", ""), core.get("CPU part", "")
    if part:  # before "model name", which some Arm kernels set to "ARMv8 Processor rev 1 (v8l)" for every CPU
        return ARM_PARTS.get((implementer, part), f"Arm part {implementer}:{part}"), features
    return core.get("model name", "unknown"), features


def _mac() -> tuple[str, set[str]]:
    def sysctl(name: str) -> str:
        return subprocess.run(["sysctl", "-n", name], capture_output=True, encoding="utf-8", check=False).stdout.strip()

    features = {name for name, flag in MAC_FLAGS.items() if sysctl(f"hw.optional.arm.{flag}") == "1"}
    return sysctl("machdep.cpu.brand_string"), features
