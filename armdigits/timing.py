"""How the variants are timed: one process, blocks in random order, a control that proves the clock fair.

The scenarios are those of MLPerf Inference (https://arxiv.org/abs/1911.02549): batch 1 is its single stream, one
query after the other; the largest batch its offline scenario, where throughput counts. Machines drift (clock rates,
neighbours), so variants are never timed one after the other: every round times a block of calls of each variant on
the same images, and a ratio is taken within a round, before the rounds are summarised.
"""

import gc
import random
import time
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

Call = Callable[[Tensor], object]
Nanoseconds = NDArray[np.int64]  # [rounds, calls of a block]

WARM_UP_CALLS = 50
RESAMPLES = 2000
# Queries that a percentile needs to be known within 0.5 % with 99 % confidence (MLPerf's table for single stream).
QUERIES_FOR_P90 = 24_576
QUERIES_FOR_P99 = 270_336


def time_interleaved(
    variants: dict[str, Call], queries: Sequence[Tensor], rounds: int, calls: int, seed: int
) -> dict[str, Nanoseconds]:
    """Time every variant on the same queries.

    Args:
        variants: what is called, by name. The same callable under two names is a control.
        queries: the inputs of single calls; they are cycled through.
        rounds: blocks a variant. In every round the order of the variants is drawn anew.
        calls: calls a block.
        seed: of the order.

    Returns:
        For each variant the duration of each call in nanoseconds, int64 [rounds, calls].
    """
    durations = {name: np.zeros((rounds, calls), np.int64) for name in variants}
    for call in variants.values():
        for position in range(WARM_UP_CALLS):
            call(queries[position % len(queries)])
    shuffle = random.Random(seed).shuffle  # noqa: S311 - an order, not a secret
    order = list(variants)
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for turn in tqdm(range(rounds), desc="rounds", disable=None, leave=False):
            block = [queries[(turn * calls + position) % len(queries)] for position in range(calls)]
            shuffle(order)
            for name in order:
                durations[name][turn] = _time_block(variants[name], block)
    finally:
        if collecting:
            gc.enable()
    return durations


def _time_block(call: Call, block: list[Tensor]) -> list[int]:
    clock = time.perf_counter_ns
    durations = [0] * len(block)
    for position, query in enumerate(block):
        start = clock()
        call(query)
        durations[position] = clock() - start
    return durations


def summarise(durations: Nanoseconds, images: int) -> dict[str, float | int | bool]:
    """Percentiles of the calls in microseconds, and throughput at the median call.

    Args:
        durations: of calls, in nanoseconds.
        images: images a call.
    """
    p50, p90, p99 = np.percentile(durations, (50, 90, 99)) / 1000
    calls = durations.size
    return {
        "p50_us": round(float(p50), 3),
        "p90_us": round(float(p90), 3),
        "p99_us": round(float(p99), 3),
        "images_per_s": round(images / float(p50) * 1e6, 1),
        "calls": calls,
        "p90_indicative": calls < QUERIES_FOR_P90,
        "p99_indicative": calls < QUERIES_FOR_P99,
    }


def ratio(numerator: Nanoseconds, denominator: Nanoseconds, seed: int) -> dict[str, float]:
    """How long `numerator` takes as a share of `denominator`, with a 95 % interval.

    A round gives the ratio of the medians of its two blocks. The ratio is the median over the rounds, the interval
    a percentile bootstrap over the rounds (B. Efron, Ann. Statist. 7, 1979).
    """
    ratios = np.median(numerator, axis=1) / np.median(denominator, axis=1)
    draws = np.random.default_rng(seed).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[draws], axis=1), (2.5, 97.5))
    return {
        "ratio": round(float(np.median(ratios)), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }
