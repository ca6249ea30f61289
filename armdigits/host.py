"""Which machine this is: the half of a benchmark that its numbers cannot do without."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

# CPU parts by (implementer, part), from Arm's MIDR_EL1 register: /proc/cpuinfo on Arm Linux has no name for them.
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
# The instructions that decide how fast int8 is: x86's, then Arm's names in /proc/cpuinfo.
FEATURES = ("avx2", "avx512_vnni", "avx_vnni", "asimd", "asimddp", "i8mm", "sve", "sve2")
PACKAGES = ("torch", "executorch", "torchao")


def identify() -> dict[str, str | int]:
    """What makes two machines different to a benchmark: the same words on the same machine, run after run."""
    cpu, features = _mac() if platform.system() == "Darwin" else _linux(Path("/proc/cpuinfo").read_text())
    return {
        "cpu": cpu,
        "arch": platform.machine(),
        "features": " ".join(name for name in FEATURES if name in features),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": platform.system(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _linux(cpuinfo: str) -> tuple[str, set[str]]:
    """The name and the features of the first core in the text of /proc/cpuinfo."""
    core: dict[str, str] = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        core.setdefault(key.strip(), value.strip())
    features = set((core.get("flags") or core.get("Features") or "").split())
    implementer, part = core.get("CPU implementer", ""), core.get("CPU part", "")
    if part:  # some Arm kernels give a model name too, which is the same for every model: "ARMv8 Processor rev 1 (v8l)"
        return ARM_PARTS.get((implementer, part), f"Arm part {implementer}:{part}"), features
    return core.get("model name", "unknown"), features


def _mac() -> tuple[str, set[str]]:
    def sysctl(name: str) -> str:
        return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, check=False).stdout.strip()

    names = {"asimd": "AdvSIMD", "asimddp": "FEAT_DotProd", "i8mm": "FEAT_I8MM"}
    features = {name for name, flag in names.items() if sysctl(f"hw.optional.arm.{flag}") == "1"}
    return sysctl("machdep.cpu.brand_string"), features


def conditions() -> dict[str, str | float]:
    """What may differ from run to run on one machine: the kernel and how busy the machine is (1-minute load)."""
    return {"kernel": platform.release(), "load": round(os.getloadavg()[0], 2)}
