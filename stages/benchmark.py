"""Time the model in eager mode, the fp32 program, the int8 program and its C source on this machine.

    dvc repro benchmark
    python -m stages.benchmark

Reads the checkpoint, the programs, the C source and the test images; writes the metrics and a figure of the latency
distributions.

Fails when the int8 program takes more than benchmark.max_ratio of the fp32 program's time at batch 1, unless the
timings are too noisy to tell.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from armdigits.core import paths, records, stage
from armdigits.core.errors import GateFailed
from armdigits.core.files import write_bytes, write_json
from armdigits.core.parameters import Benchmark, Parameters
from armdigits.csource.binding import read_c_program
from armdigits.data.dataset import read_provenance, read_split
from armdigits.measure import host
from armdigits.measure.timing import Nanoseconds, ratio, summarise, time_interleaved
from armdigits.models.checkpoint import read_checkpoint
from armdigits.program.runtime import Program, load, read_content, read_program, use_threads
from armdigits.report.figures import latency_curves

Call = Callable[[Tensor], object]

FEWEST_CALLS = 8  # per block
MAIN_VARIANTS = ("eager", "fp32", "int8", "c")  # in the figure
MEDIANS, MAIN_RATIOS = ("int8", "c"), ("int8_over_eager", "c_over_int8")  # in the metrics
CONTROL = "int8 again"
RATIOS = {
    "int8_over_fp32": ("int8", "fp32"),
    "int8_over_eager": ("int8", "eager"),
    "fp32_over_eager": ("fp32", "eager"),
    "c_over_int8": ("c", "int8"),
    "c_over_eager": ("c", "eager"),
    "c_no_zeros_over_int8": ("c_no_zeros", "int8"),
    "int8_checked_over_eager": ("int8_checked", "eager"),
    "int8_view_over_int8": ("int8_view", "int8"),
    "control": (CONTROL, "int8"),
}


def variants_of(model: nn.Module, fp32: Program, int8: Program, c: Call, empty: bytes) -> dict[str, Call]:
    """The calls to time, by name.

    `fp32` and `int8` skip the checks on their images, as eager mode does; `int8_checked` is the call with the checks of
    `Program`, `int8_view` the call that returns memory of the runtime, which the next call overwrites, and `empty_call`
    the call of a program that computes nothing. The C source skips zeros: `c_no_zeros` gets
    as many images, all without a zero, which is its slowest case; the time of the others depends on no pixel.
    """
    empty_call = load(empty).forward
    filled: dict[int, Tensor] = {}

    def c_no_zeros(images: Tensor) -> object:
        count = images.shape[0]
        if count not in filled:
            filled[count] = torch.full_like(images, 0.3)
        return c(filled[count])

    return {
        "eager": model,
        "fp32": fp32.forward,
        "int8": int8.forward,
        "c": c,
        "c_no_zeros": c_no_zeros,
        "int8_checked": int8,
        "int8_view": int8.view,
        "empty_call": empty_call,
    }


def benchmark(
    variants: dict[str, Call], pixels: Tensor, batch: int, settings: Benchmark
) -> tuple[dict[str, Any], dict[str, Nanoseconds]]:
    """Time the variants at one batch size on images float32 [N, C, H, W].

    Returns:
        The details of this batch size, and the duration of each call.
    """
    queries = [query for query in pixels.split(batch) if len(query) == batch]
    calls = max(FEWEST_CALLS, settings.calls // batch)
    with torch.inference_mode():
        timed = {**variants, CONTROL: variants["int8"]}
        times = time_interleaved(timed, queries, settings.rounds, calls, settings.seed, settings.seconds)
    details: dict[str, Any] = {name: summarise(times[name], batch) for name in variants}
    for key, (numerator, denominator) in RATIOS.items():
        details[key] = ratio(times[numerator], times[denominator], settings.seed)
    details["noisy"] = not details["control"]["low"] <= 1 <= details["control"]["high"]
    return details, times


def metrics_of(details: dict[str, Any], largest: int) -> dict[str, Any]:
    """The metrics: of batch 1 the medians and the control, of batch 1 and the largest batch the ratios.

    Other batch sizes are in the details only: DVC's table would grow by two columns for each.
    """
    metrics: dict[str, Any] = {"batch_1": {name: {"p50_us": details["batch_1"][name]["p50_us"]} for name in MEDIANS}}
    for batch in ("batch_1", f"batch_{largest}"):
        ratios = {name: {"ratio": details[batch][name]["ratio"]} for name in MAIN_RATIOS}
        metrics[batch] = metrics.get(batch, {}) | ratios
    return {**metrics, "control": details["batch_1"]["control"]["ratio"]}


def table(batch: int, details: dict[str, Any]) -> str:
    """The details of one batch size as text."""
    variants = {name: values for name, values in details.items() if name != "noisy" and name not in RATIOS}
    lines = [f"batch {batch:<10} {'p50 us':>11} {'p90 us':>11} {'p99 us':>11} {'images/s':>13}"]
    for name, values in variants.items():
        lines.append(
            f"  {name:<14} {values['p50_us']:11.2f} {marked(values, 'p90')} {marked(values, 'p99')}"
            f" {values['images_per_s']:13,.0f}"
        )
    row = "  {:<24} {ratio:.3f}  [{low:.3f}, {high:.3f}]"
    lines += [row.format(name, **details[name]) for name in RATIOS]
    if details["noisy"]:
        lines.append("  NOISY: the control's interval does not contain 1.00; the figures are rough")
    return "\n".join(lines)


def marked(figures: dict[str, Any], percentile: str) -> str:
    """A percentile, marked with ~ when there were too few calls for a reliable estimate."""
    mark = "~" if figures[f"{percentile}_indicative"] else ""
    return f"{mark}{figures[f'{percentile}_us']:.2f}".rjust(11)


def judge(single: dict[str, Any], limit: float) -> None:
    """Compare the upper end of int8 over fp32 at batch 1 with the limit, unless the timings are noisy.

    Raises:
        GateFailed: it is above the limit.
    """
    high = single["int8_over_fp32"]["high"]
    message = f"int8 over fp32 at batch 1 reaches {high:.3f}, above benchmark.max_ratio ({limit})"
    if high > limit and single["noisy"]:
        print(f"{message};\nnot enforced, because the timings are noisy")
    elif high > limit:
        raise GateFailed(message)


def main(parameters: Parameters) -> None:
    """Time each batch size, write everything, then apply the gate to batch 1."""
    settings = parameters.benchmark
    torch.set_num_threads(settings.threads)
    use_threads(settings.threads)
    model, weights_sha256 = read_checkpoint(paths.MODEL, parameters.train, parameters.model)
    fp32, int8 = (read_program(path, weights_sha256) for path in (paths.FP32_PROGRAM, paths.INT8_PROGRAM))
    c = read_c_program().on_tensors()
    variants = variants_of(model, fp32, int8, c, read_content(paths.EMPTY_PROGRAM, weights_sha256))
    pixels = read_split(paths.TEST_DATA).pixels()
    dataset = read_provenance().name

    machine = {**host.identify(), **host.conditions(), "threads": settings.threads}
    details: dict[str, Any] = {"dataset": dataset, "host": machine}
    latencies = {}
    for batch in settings.batch_sizes:
        figures, times = benchmark(variants, pixels, batch, settings)
        print(table(batch, figures), flush=True)
        details[f"batch_{batch}"] = figures
        latencies[f"batch {batch}"] = {name: times[name] / 1000 for name in MAIN_VARIANTS}
    print("~: too few calls to estimate this percentile within 0.5 % (MLPerf Inference)")

    title = f"Latency on {machine['cpu']} ({machine['arch']}), threads: {settings.threads}"
    write_json(paths.BENCHMARK_METRICS, metrics_of(details, max(settings.batch_sizes)))
    records.write(paths.BENCHMARK_DETAILS, records.BenchmarkDetails.model_validate(details))
    write_bytes(paths.LATENCY, latency_curves(title, latencies))
    judge(details["batch_1"], settings.max_ratio)


if __name__ == "__main__":
    stage.run("benchmark", main)
