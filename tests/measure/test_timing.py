import gc
import math

import numpy as np
import pytest

from armdigits.measure.timing import FEWEST_ROUNDS, WARM_UP_CALLS, ratio, summarise, time_interleaved


def test_each_round_times_every_variant_on_equal_queries_in_random_order() -> None:
    log: list[tuple[str, int]] = []
    variants = {name: lambda query, name=name: log.append((name, query)) for name in "abc"}
    times = time_interleaved(variants, range(5), rounds=20, calls=2, seed=1)
    timed = log[3 * WARM_UP_CALLS :]
    assert len(timed) == 3 * 20 * 2
    assert {name: durations.shape for name, durations in times.items()} == dict.fromkeys("abc", (20, 2))
    rounds = [timed[start : start + 6] for start in range(0, len(timed), 6)]
    for turn, calls in enumerate(rounds):
        queries = [2 * turn % 5, (2 * turn + 1) % 5]
        assert all([query for name, query in calls if name == variant] == queries for variant in "abc")
    assert len({tuple(name for name, _ in calls) for calls in rounds}) > 3


@pytest.mark.parametrize(("rounds", "seconds", "ran"), [(40, 0.0, FEWEST_ROUNDS), (40, math.inf, 40), (8, 0.0, 8)])
def test_no_round_starts_after_the_time_is_up_once_there_are_enough(rounds: int, seconds: float, ran: int) -> None:
    times = time_interleaved({"a": abs, "b": abs}, [0], rounds, calls=2, seed=1, seconds=seconds)
    assert [durations.shape for durations in times.values()] == [(ran, 2)] * 2
    assert all(durations.all() for durations in times.values())


def test_garbage_is_not_collected_in_a_timed_call() -> None:
    states: list[bool] = []
    time_interleaved({"a": lambda _: states.append(gc.isenabled())}, [0], rounds=8, calls=8, seed=1)
    assert not any(states[WARM_UP_CALLS:])
    assert gc.isenabled()


def test_garbage_collection_is_enabled_again_after_an_error() -> None:
    def fail(_query: int) -> None:
        if not gc.isenabled():
            raise RuntimeError("in a block")

    with pytest.raises(RuntimeError, match="in a block"):
        time_interleaved({"a": fail}, [0], rounds=8, calls=8, seed=1)
    assert gc.isenabled()


def test_percentiles_are_in_microseconds_and_throughput_in_images() -> None:
    durations = np.arange(1, 101).reshape(10, 10) * 1000
    figures = summarise(durations, images=32)
    assert figures["p50_us"] == 50.5
    assert figures["p90_us"] == pytest.approx(90.1)
    assert figures["images_per_s"] == pytest.approx(32 / 50.5e-6, rel=1e-4)


@pytest.mark.parametrize(("calls", "indicative"), [(24_575, True), (24_576, False)])
def test_a_percentile_of_too_few_calls_is_marked_as_indicative(calls: int, indicative: bool) -> None:
    figures = summarise(np.ones((1, calls), np.int64), images=1)
    assert figures["p90_indicative"] is indicative
    assert figures["p99_indicative"] is True


def test_a_ratio_is_that_of_paired_blocks_and_ignores_drift_between_rounds() -> None:
    drift = np.linspace(1, 10, 100)[:, None] * np.ones((1, 9))
    result = ratio((drift * 300).astype(np.int64), (drift * 1000).astype(np.int64), seed=1)
    assert result["ratio"] == pytest.approx(0.3, abs=0.001)
    assert 0.299 < result["low"] <= result["ratio"] <= result["high"] < 0.301


def test_the_interval_widens_with_the_noise() -> None:
    noise = np.random.default_rng(0)
    calm, wild = (noise.normal(1000, sigma, (100, 9)).astype(np.int64) for sigma in (1, 100))
    narrow, wide = ratio(calm, calm[::-1], seed=1), ratio(wild, wild[::-1], seed=1)
    assert wide["high"] - wide["low"] > 10 * (narrow["high"] - narrow["low"])
