"""Identify the machine and the software, without which timings mean nothing."""

import os
import platform
from importlib.metadata import version

from armdigits.core.cpu import processor

# Instruction sets that decide the speed of int8, as /proc/cpuinfo names them: x86's, then Arm's.
FEATURES = ("avx2", "avx512_vnni", "avx_vnni", "asimd", "asimddp", "i8mm", "sve", "sve2")
PACKAGES = ("torch", "executorch", "torchao")


def identify() -> dict[str, str | int]:
    """The machine and the software that decide timings. Equal from run to run on one machine; imports no torch."""
    cpu = processor()
    return {
        "cpu": cpu.name,
        "arch": platform.machine(),
        "features": " ".join(name for name in FEATURES if name in cpu.features),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "system": platform.system(),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def conditions() -> dict[str, str | float]:
    """What differs from run to run on one machine: the kernel, and `load`, the average number of busy threads in the
    last minute.
    """
    return {"kernel": platform.release(), "load": round(os.getloadavg()[0], 2)}
