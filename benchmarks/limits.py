"""What one thread of this CPU can reach: multiply-adds a second, and whether its int8 arithmetic is exact."""

import time
from typing import Any

import torch


def best_rates() -> dict[str, float]:
    """The most multiply-adds a second that one thread reached in any of many matrix products, for fp32 and int8."""
    rates = {"fp32": 0.0, "int8": 0.0}
    for size in (256, 512, 1024) * 10:
        real = torch.rand(size, size)
        integer = torch.randint(-128, 128, (size, size), dtype=torch.int8)
        # torch's int8 product has no public name.
        for name, multiply, matrix in (("fp32", torch.mm, real), ("int8", torch._int_mm, integer)):
            start = time.perf_counter()
            multiply(matrix, matrix)
            rates[name] = max(rates[name], size**3 / (time.perf_counter() - start))
    return rates


def limits(rates: dict[str, float]) -> dict[str, float]:
    """The rates that are a limit: an int8 product that is slower than fp32's is none."""
    return {name: rate for name, rate in rates.items() if rate >= rates["fp32"]}


def describe(rates: dict[str, float]) -> str:
    """The limits in a line."""
    text = f"limit: fp32 {rates['fp32'] / 1e9:.0f} G multiply-adds/s (torch.mm)"
    int8 = limits(rates).get("int8")
    return text + (f", int8 {int8 / 1e9:.0f} G (torch._int_mm)" if int8 else "; int8: no kernel at hand reaches it")


def lacks_vnni(machine: dict[str, Any]) -> bool:
    """Whether this is an x86 CPU without the instructions that add int8 products exactly."""
    return machine["arch"] in ("x86_64", "AMD64") and "vnni" not in machine["features"]
