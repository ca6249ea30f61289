"""Print the last run in 80 columns: first what is the same each time, then what a clock said, and on which machine.

It reads what Git has of a run, so it works in a fresh clone too. All that the stages have measured is in
metrics/*-details.json.
"""

import argparse
import textwrap
from collections.abc import Mapping

from armdigits.core import records
from armdigits.core.errors import printable
from armdigits.report import results

COLUMNS = 80
LONGEST = 400  # characters of a line, which is then wrapped: names of data sets and CPUs come from records


def configure(_parser: argparse.ArgumentParser) -> None:
    """There are no arguments."""


def run(_options: argparse.Namespace) -> None:
    """Print the figures."""
    found = results.read_run()
    parts = (model(found), targets(found.export.targets()), timings(found.benchmark), host(found.benchmark.host))
    for part in parts:
        for line in part:
            print(textwrap.fill(printable(line[:LONGEST]), COLUMNS, subsequent_indent="    "))
        print()


def model(run: results.Run) -> list[str]:
    """The data set, and the figures of the model and of its programs."""
    train, evaluate, quantize = run.train, run.evaluate, run.quantize
    return [
        f"data set        {train.dataset}",
        f"parameters      {train.parameters:,}",
        f"training        loss {train.train_loss:.4f}",
        f"validation      {train.validation_accuracy:7.2%}  loss {train.validation_loss:.4f}",
        f"test            {evaluate.accuracy:7.2%}  loss {evaluate.loss:.4f}  macro F1 {evaluate.macro_f1:.4f}",
        f"fp32 program    {quantize.fp32.accuracy:7.2%}",
        f"int8 program    {quantize.int8.accuracy:7.2%}  {quantize.int8.bytes:,} bytes",
        f"agreement       {quantize.agreement:7.2%}",
        f"C program       {run.export.equal_logits:,} logits equal the int8 program's to the bit",
    ]


def targets(found: Mapping[str, records.TargetMetrics]) -> list[str]:
    """The C program on each target of `export.targets`."""
    row = "{:<16}{:>12}{:>12}{:>16}".format
    rows = [row(name, f"{each.bytes:,}", f"{each.ram:,}", f"{each.instructions:,}") for name, each in found.items()]
    return [row("C program on", "bytes", "RAM", "instructions"), *rows]


def timings(benchmark: records.BenchmarkDetails) -> list[str]:
    """The medians of each batch size in microseconds, and ratios of times."""
    row = "{:<16}{:>12}{:>12}{:>18}{:>14}".format
    lines = [row("median, µs", "int8", "C", "int8 over eager", "C over int8")]
    for name, batch in benchmark.batches().items():
        medians = (f"{timing.p50_us:,.1f}" for timing in (batch.int8, batch.c))
        ratios = (f"{ratio.ratio:.3f}" for ratio in (batch.int8_over_eager, batch.c_over_int8))
        noisy = "  NOISY" if batch.noisy else ""
        lines.append(row(name.replace("_", " "), *medians, *ratios) + noisy)
    return [*lines, f"control         {benchmark.batch_1.control.ratio:12.3f}  int8 over int8 at batch 1"]


def host(machine: records.BenchmarkHost) -> list[str]:
    """The machine of the timings."""
    return [
        f"{machine.cpu} ({machine.arch}) {machine.features}, threads: {machine.threads}",
        f"Python {machine.python}, torch {machine.torch}, ExecuTorch {machine.executorch}, torchao {machine.torchao}",
    ]
