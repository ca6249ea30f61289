"""Fair timing: interleaved blocks of calls in one process, and a control that shows how fair it was.

The scenarios are those of MLPerf Inference (https://arxiv.org/abs/1911.02549): batch 1 is its single stream, one
query after the other; the largest batch its offline scenario, where throughput counts. The speed of a machine drifts
(clock rates, other processes), so variants are not timed one after the other: each round times one block of calls of
every variant on the same queries, and a ratio is computed within a round before the rounds are summarised.
"""

import gc
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

Query = TypeVar("Query")  # what a call takes: a batch of images, in any form
Nanoseconds = NDArray[np.int64]  # [rounds, calls of a block]

WARM_UP_CALLS = 50
FEWEST_ROUNDS = 24  # for an interval over the rounds
RESAMPLES = 2000
# Calls needed to estimate a percentile within 0.5 % at 99 % confidence (MLPerf's table for single stream).
CALLS_FOR_P90 = 24_576
CALLS_FOR_P99 = 270_336


def time_interleaved(
    variants: Mapping[str, Callable[[Query], object]],
    queries: Sequence[Query],
    rounds: int,
    calls: int,
    seed: int,
    seconds: float = math.inf,
) -> dict[str, Nanoseconds]:
    """Time every variant on the same queries, without garbage collection.

    Args:
        variants: functions by name. One function under two names is a control: its ratio should be 1.
        queries: the inputs of single calls, used in a cycle.
        rounds: blocks per variant. The variants run in a new random order in each round.
        calls: calls per block.
        seed: of the order.
        seconds: after which no further round starts, once there are `FEWEST_ROUNDS`.

    Returns:
        For each variant the duration of each call in nanoseconds, int64 [rounds that ran, calls].
    """
    durations = {name: np.zeros((rounds, calls), np.int64) for name in variants}
    for call in variants.values():
        for position in range(WARM_UP_CALLS):
            call(queries[position % len(queries)])
    shuffle = random.Random(seed).shuffle  # noqa: S311 - an order, not a secret
    order = list(variants)
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for turn in tqdm(range(rounds), desc="rounds", disable=None, leave=False):
            if turn >= FEWEST_ROUNDS and time.perf_counter() - start > seconds:
                return {name: each[:turn] for name, each in durations.items()}
            block = [queries[(turn * calls + position) % len(queries)] for position in range(calls)]
            shuffle(order)
            for name in order:
                durations[name][turn] = _time_block(variants[name], block)
    finally:
        if was_enabled:
            gc.enable()
    return durations


def _time_block(call: Callable[[Query], object], block: list[Query]) -> list[int]:
    clock = time.perf_counter_ns
    durations = [0] * len(block)
    for position, query in enumerate(block):
        start = clock()
        call(query)
        durations[position] = clock() - start
    return durations


def summarise(durations: Nanoseconds, images: int) -> dict[str, float | int | bool]:
    """Percentiles of the calls in microseconds, and images per second at the median.

    Args:
        durations: of the calls, in nanoseconds.
        images: images per call.

    Returns:
        `p50_us`, `p90_us`, `p99_us`, `images_per_s`, `calls`, and `p90_indicative` and `p99_indicative`: whether there
        were too few calls for a reliable estimate of that percentile.
    """
    p50, p90, p99 = np.percentile(durations, (50, 90, 99)) / 1000
    calls = durations.size
    return {
        "p50_us": round(float(p50), 3),
        "p90_us": round(float(p90), 3),
        "p99_us": round(float(p99), 3),
        "images_per_s": round(images / float(p50) * 1e6, 1),
        "calls": calls,
        "p90_indicative": calls < CALLS_FOR_P90,
        "p99_indicative": calls < CALLS_FOR_P99,
    }


def ratio(numerator: Nanoseconds, denominator: Nanoseconds, seed: int) -> dict[str, float]:
    """The time of `numerator` divided by that of `denominator`, with a 95 % interval.

    Each round gives the ratio of the medians of its two blocks. `ratio` is the median of the rounds; `low` and `high`
    are a percentile bootstrap over the rounds (B. Efron, Ann. Statist. 7, 1979).
    """
    ratios = np.median(numerator, axis=1) / np.median(denominator, axis=1)
    draws = np.random.default_rng(seed).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[draws], axis=1), (2.5, 97.5))
    return {
        "ratio": round(float(np.median(ratios)), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }
