"""Write the int8 program as C source, after it has been compiled for each target, run there and compared.

    dvc repro export
    python -m stages.export

Reads the int8 program back and writes models/c/: digits.h, digits.c, an example and a CMake project. The logits must
equal those of the int8 program to the bit: for all test images on this machine, and for the first of them on each
target, under emulators, which also count instructions. Where an emulator is not installed, its targets are left out.

The targets in export.targets are in the metrics, all of them in the details. Fails when a logit differs; then no C is
written.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armdigits.core import paths, records, stage
from armdigits.core.errors import GateFailed
from armdigits.core.files import sha256, write_all
from armdigits.core.parameters import Parameters
from armdigits.csource import targets
from armdigits.csource.generate import About, multiplications, sources, stack_bytes
from armdigits.data.dataset import read_provenance, read_split
from armdigits.program import reference
from armdigits.program.contents import read_back
from armdigits.program.runtime import read_content

EMULATED = 1000  # test images under each emulator; of a larger network than the tutorial's, in proportion fewer
MULTIPLICATIONS = EMULATED * 102_400
FILES = {
    "digits.h": paths.C_HEADER,
    "digits.c": paths.C_SOURCE,
    "example.c": paths.C_EXAMPLE,
    "CMakeLists.txt": paths.C_PROJECT,
}


def metrics_of(runs: dict[str, targets.Result], names: Sequence[str]) -> records.ExportMetrics:
    """The metrics: of the targets, those of these names that ran."""
    figures: dict[str, Any] = {
        name: records.TargetMetrics(
            bytes=run.code + run.constants,
            ram=run.stack + run.variables,
            instructions=round(float(run.instructions.mean())),
        )
        for name in names
        if name in runs and (run := runs[name].run)
    }
    return records.ExportMetrics(equal_logits=sum(result.equal for result in runs.values()), **figures)


def details_of(result: targets.Result) -> records.TargetDetails:
    """The details of a target, or of this machine."""
    if not (run := result.run):
        return records.TargetDetails(compared=result.compared, equal=result.equal)
    return records.TargetDetails(
        compared=result.compared,
        equal=result.equal,
        code_bytes=run.code,
        constant_bytes=run.constants,
        stack_bytes=run.stack,
        instructions=round(float(run.instructions.mean())),
        max_instructions=int(run.instructions.max()),
    )


def table(runs: dict[str, targets.Result]) -> str:
    """The figures for people."""
    lines = [f"{'target':<16} {'logits':>9} {'code':>7} {'constants':>10} {'stack':>6} {'instructions, mean, max':>25}"]
    for name, result in runs.items():
        row = f"{name:<16} {result.compared:>9,}"
        if machine := result.run:
            mean, most = f"{machine.instructions.mean():,.0f}", f"{machine.instructions.max():,}"
            row += f" {machine.code:>7,} {machine.constants:>10,} {machine.stack:>6,} {mean:>14}{most:>11}"
        lines.append(row)
    return "\n".join(lines)


def problems(runs: dict[str, targets.Result], largest_stack: int) -> list[str]:
    """What the promises of the C source are broken by, one line each."""
    found = []
    for name, result in runs.items():
        if result.equal != result.compared:
            differ = result.compared - result.equal
            found.append(f"{name}: {differ:,} of {result.compared:,} logits differ from those of {paths.INT8_PROGRAM}")
        if result.run and (result.run.variables or result.run.stack > largest_stack):
            found.append(f"{name}: needs {result.run.variables} bytes of variables, {result.run.stack} of stack")
    return found


def main(parameters: Parameters) -> None:
    """Generate the source, run it everywhere, then write it."""
    content = read_content(paths.INT8_PROGRAM)
    program = read_back(content, paths.INT8_PROGRAM)
    record = records.read(paths.PROGRAM_RECORD, records.Programs, "quantize")
    accuracy = records.read(paths.QUANTIZE_METRICS, records.QuantizeMetrics, "quantize").int8.accuracy
    test = read_split(paths.TEST_DATA)
    provenance = read_provenance()
    dataset = provenance.name

    about = About(
        dataset=dataset,
        shape=provenance.shape,
        reading=provenance.reading,
        classes=tuple(provenance.classes),
        accuracy=f"{accuracy:.2%} of {len(test):,} test images",
        weights_sha256=record.weights_sha256,
    )
    source = sources(program, about)
    expected: NDArray[np.float32] = reference.reference_logits(program, test.images.numpy())
    emulated = max(1, min(EMULATED, MULTIPLICATIONS // multiplications(program, test.shape)))
    runs, left_out = targets.run_everywhere(source, test.images.numpy(), expected, emulated)
    for name, package in left_out.items():
        print(f"{name}: left out, as the package {package} is not installed")
    print(table(runs))
    if broken := problems(runs, stack_bytes(program, test.shape)):
        raise GateFailed(*broken)

    contents = {path: source[name].encode() for name, path in FILES.items()}
    digests = {path.name: sha256(data) for path, data in contents.items()}
    write_all(contents)
    records.write(paths.EXPORT_METRICS, metrics_of(runs, parameters.export.targets))
    on_target: dict[str, Any] = {name: details_of(result) for name, result in runs.items()}
    details = records.ExportDetails(
        dataset=dataset,
        program_sha256=sha256(content),
        sources_sha256=digests,
        source_bytes=sum(len(contents[path]) for path in (paths.C_HEADER, paths.C_SOURCE)),
        compared=sum(result.compared for result in runs.values()),
        left_out=left_out,
        **on_target,
    )
    records.write(paths.EXPORT_DETAILS, details)


if __name__ == "__main__":
    stage.run("export", main)
