"""Time the network in eager mode, the fp32 program and the int8 program on this machine.

    python -m stages.benchmark       (dvc repro benchmark)

Reads the checkpoint, the programs and the test images; writes metrics/benchmark.json and a picture of the latency
distributions. Fails when int8 is too slow beside fp32, unless the machine is too noisy to say.
"""

import torch
from torch import Tensor

from armdigits import host, paths, stage
from armdigits.checkpoint import read_checkpoint
from armdigits.dataset import read_provenance, read_split
from armdigits.errors import GateFailed
from armdigits.files import write_bytes, write_json
from armdigits.model import NeuralNetwork
from armdigits.parameters import Benchmark, Parameters
from armdigits.pictures import latency_curves
from armdigits.runtime import Program, load, read_content, read_program, use_threads
from armdigits.timing import Call, Nanoseconds, ratio, summarise, time_interleaved

FEWEST_CALLS = 8  # a block
SHOWN = ("eager", "fp32", "int8")  # in the picture
CONTROL = "int8 again"
RATIOS = {
    "int8_over_fp32": ("int8", "fp32"),
    "int8_over_eager": ("int8", "eager"),
    "fp32_over_eager": ("fp32", "eager"),
    "int8_checked_over_eager": ("int8_checked", "eager"),
    "control": (CONTROL, "int8"),
}


def variants_of(network: NeuralNetwork, fp32: Program, int8: Program, empty: bytes) -> dict[str, Call]:
    """What is timed: the call itself, which checks its images as little as eager mode does.

    `int8_checked` is the call with the checks that `Program` makes; `empty_call` is one in which nothing is computed.
    """
    empty_call, _ = load(empty)
    return {
        "eager": network,
        "fp32": fp32.forward,
        "int8": int8.forward,
        "int8_checked": int8,
        "empty_call": empty_call,
    }


def benchmark(
    variants: dict[str, Call], pixels: Tensor, batch: int, settings: Benchmark
) -> tuple[dict, dict[str, Nanoseconds]]:
    """Time the variants at one batch size on images float32 [N, 1, 28, 28].

    Returns:
        The metrics, and the duration of each call.
    """
    queries = [query for query in pixels.split(batch) if len(query) == batch]
    calls = max(FEWEST_CALLS, settings.calls // batch)
    with torch.inference_mode():
        contest = {**variants, CONTROL: variants["int8"]}
        times = time_interleaved(contest, queries, settings.rounds, calls, settings.seed)
    metrics = {name: summarise(times[name], batch) for name in variants}
    for key, (numerator, denominator) in RATIOS.items():
        metrics[key] = ratio(times[numerator], times[denominator], settings.seed)
    metrics["noisy"] = not metrics["control"]["low"] <= 1 <= metrics["control"]["high"]
    return metrics, times


def table(batch: int, metrics: dict) -> str:
    """The metrics of one batch size for people."""
    figures = {name: values for name, values in metrics.items() if name != "noisy" and name not in RATIOS}
    lines = [f"batch {batch:<10} {'p50 us':>11} {'p90 us':>11} {'p99 us':>11} {'images/s':>13}"]
    for name, values in figures.items():
        lines.append(
            f"  {name:<14} {values['p50_us']:11.2f} {marked(values, 'p90')} {marked(values, 'p99')}"
            f" {values['images_per_s']:13,.0f}"
        )
    row = "  {:<24} {ratio:.3f}  [{low:.3f}, {high:.3f}]"
    lines += [row.format(name, **metrics[name]) for name in RATIOS]
    if metrics["noisy"]:
        lines.append("  NOISY: the program is not even as fast as itself; take these figures as rough ones")
    return "\n".join(lines)


def marked(figures: dict, percentile: str) -> str:
    """A percentile with a ~ before it when there were too few calls to know it well."""
    mark = "~" if figures[f"{percentile}_indicative"] else ""
    return f"{mark}{figures[f'{percentile}_us']:.2f}".rjust(11)


def judge(single: dict, limit: float) -> None:
    """Compare the upper end of int8 over fp32 at batch 1 with the limit, where the machine lets it be known.

    Raises:
        GateFailed: int8 is too slow beside fp32.
    """
    high = single["int8_over_fp32"]["high"]
    message = f"int8 over fp32 at batch 1 reaches {high:.3f}, above benchmark.max_ratio ({limit})"
    if high > limit and single["noisy"]:
        print(f"{message}: not judged, the run is noisy")
    elif high > limit:
        raise GateFailed(message)


def main(parameters: Parameters) -> None:
    """Time every batch size, write everything, then judge batch 1."""
    settings = parameters.benchmark
    torch.set_num_threads(settings.threads)
    use_threads(settings.threads)
    network, weights_sha256 = read_checkpoint(paths.MODEL, parameters.train)
    fp32, int8 = (read_program(path, weights_sha256) for path in (paths.FP32_PROGRAM, paths.INT8_PROGRAM))
    variants = variants_of(network, fp32, int8, read_content(paths.EMPTY_PROGRAM, weights_sha256))
    pixels = read_split(paths.TEST_DATA).pixels()
    machine = {**host.identify(), **host.conditions(), "threads": settings.threads}

    metrics, latencies = {"dataset": read_provenance()["name"], "host": machine}, {}
    for batch in settings.batch_sizes:
        metrics[f"batch_{batch}"], times = benchmark(variants, pixels, batch, settings)
        latencies[f"batch {batch}"] = {name: times[name] / 1000 for name in SHOWN}
        print(table(batch, metrics[f"batch_{batch}"]), flush=True)
    print("~ indicative: fewer calls than the percentile needs to be known within 0.5 % (MLPerf)")
    write_json(paths.BENCHMARK_METRICS, metrics)
    title = f"Latency on {machine['cpu']} ({machine['arch']}), threads: {settings.threads}"
    write_bytes(paths.LATENCY, latency_curves(title, latencies))
    judge(metrics["batch_1"], settings.max_ratio)


if __name__ == "__main__":
    stage.run("benchmark", main)
