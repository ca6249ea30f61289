"""What one thread of this CPU can reach: multiply-adds per second, and whether its int8 arithmetic is exact."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SIZES = (256, 512, 1024)  # rows of the square matrices
PRODUCTS = 10  # of each size


def best_rates() -> dict[str, float]:
    """The most multiply-adds per second that one thread reached in many matrix products, for fp32 and int8."""
    fp32 = max(_best_rate(torch.mm, torch.rand(size, size)) for size in SIZES)
    int8 = 0.0
    for size in SIZES:
        # torch's int8 product has no public name.
        int8 = max(int8, _best_rate(torch._int_mm, torch.randint(-128, 128, (size, size), dtype=torch.int8)))
        if int8 < fp32:
            break  # it sets no limit, and larger products would take a minute
    return {"fp32": fp32, "int8": int8}


def _best_rate(multiply: Callable[[Tensor, Tensor], Tensor], matrix: Tensor) -> float:
    best_s = float("inf")
    for _ in range(PRODUCTS):
        start = time.perf_counter()
        multiply(matrix, matrix)
        best_s = min(best_s, time.perf_counter() - start)
    return len(matrix) ** 3 / best_s


def limits(rates: dict[str, float]) -> dict[str, float]:
    """The rates that are limits: for int8 only where its product is at least as fast as that of fp32."""
    return {name: rate for name, rate in rates.items() if rate >= rates["fp32"]}


def describe(rates: dict[str, float]) -> str:
    """The limits in a line."""
    text = f"limit: fp32 {rates['fp32'] / 1e9:.0f} G multiply-adds/s (torch.mm)"
    int8 = limits(rates).get("int8")
    return text + (f", int8 {int8 / 1e9:.0f} G (torch._int_mm)" if int8 else "; int8: unknown (slow torch._int_mm)")


def lacks_vnni(machine: dict[str, Any]) -> bool:
    """Whether this is an x86 CPU without the instructions that add int8 products exactly."""
    return machine["arch"] in ("x86_64", "AMD64") and "vnni" not in machine["features"]
