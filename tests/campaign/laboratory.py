"""A project whose stages have run once, and ways to run them again and to check what they leave."""

import json
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from armdigits.core import paths
from armdigits.program import build
from tests.campaign.checks import Ended, Violation, check
from tests.campaign.processes import run_traced, start
from tests.helpers import copy_project, run, set_parameters

OUTS = {
    "download": [paths.TRAIN_DATA, paths.VALIDATION_DATA, paths.TEST_DATA, paths.PROVENANCE],
    "teach": [paths.TEACHER_LOGITS, paths.TEACH_DETAILS, paths.AUGMENTED],
    "train": [paths.MODEL, paths.LAYERS, paths.TRAIN_METRICS, paths.TRAIN_DETAILS, paths.HISTORY],
    "evaluate": [paths.EVALUATE_METRICS, paths.EVALUATE_DETAILS, paths.PREDICTIONS, paths.MISCLASSIFIED],
    "quantize": [
        paths.FP32_PROGRAM,
        paths.INT8_PROGRAM,
        paths.EMPTY_PROGRAM,
        paths.PROGRAM_RECORD,
        paths.QUANTIZE_METRICS,
        paths.QUANTIZE_DETAILS,
        paths.DISAGREEMENTS,
        paths.DISAGREEMENTS_FIGURE,
    ],
    "export": [
        paths.C_HEADER,
        paths.C_SOURCE,
        paths.C_EXAMPLE,
        paths.C_PROJECT,
        paths.EXPORT_METRICS,
        paths.EXPORT_DETAILS,
    ],
    "describe": [paths.MODEL_CARD],
    "benchmark": [paths.BENCHMARK_METRICS, paths.BENCHMARK_DETAILS, paths.LATENCY],
}
EPOCHS = 8  # of the training
EXPORTERS = (  # what quantize imports, which takes seconds
    "executorch.backends.xnnpack.partition.xnnpack_partitioner",
    "executorch.backends.xnnpack.quantizer.xnnpack_quantizer",
    "executorch.exir",
    "torchao.quantization.pt2e.quantize_pt2e",
)


class Laboratory:
    """A project whose stages have run once, undisturbed, and another one with other seeds.

    Attributes:
        stages: names, in the order in which they run.
        random: decides every moment and place.
        project, other: the two folders.
        expected: the bytes of every output of an undisturbed run.
        seconds_of: how long an undisturbed stage takes.
        has_strace: whether a chosen system call can be made to fail.
    """

    def __init__(self, folder: Path, seed: int, stages: list[str]) -> None:
        self.stages = stages
        self.random = random.Random(seed)  # noqa: S311 - no secrets
        self.project, self.other = copy_project(folder / "project"), copy_project(folder / "other")
        self.has_strace = shutil.which("strace") is not None
        self.seconds_of: dict[str, float] = {}
        self._log = folder / "calls"
        set_parameters(self.project, {"train.epochs": str(EPOCHS)})
        set_parameters(self.other, {"train.seed": "2", "dataset.seed": "2"})
        for name in stages:
            import_module(f"stages.{name}")
        with build.quiet():
            for module in EXPORTERS if "quantize" in stages else ():
                import_module(module)
        for project in (self.other, self.project):
            for name in ("preflight", *stages):
                begin = time.monotonic()
                ended = self.run(name, project)
                self.seconds_of[name] = time.monotonic() - begin
                check(ended.code == 0, f"{name} fails undisturbed: {ended.errors}")
        for command in (["init", "--no-scm", "-q"], ["commit", "--force", "-q", "preflight", *stages]):
            done = run(self.project, "dvc", *command)
            check(done.returncode == 0, f"dvc {command[0]} fails: {done.stderr}")
        self.expected = {path: (self.project / path).read_bytes() for name in stages for path in OUTS[name]}

    def run(self, name: str, project: Path | None = None, prepare: Callable[[], object] | None = None) -> Ended:
        """Run a stage to its end."""
        return start(name, project or self.project, prepare).wait()

    def calls_of(self, name: str) -> list[tuple[str, int]]:
        """The calls with which a stage changes the project's files: the name, and its number among that name's."""
        self.reset(name)
        check(run_traced(name, self.project, "-y", "-o", str(self._log)).code == 0, f"{name} fails under strace")
        made: Counter[str] = Counter()
        calls = []
        for line in self._log.read_text("utf-8").splitlines():
            if call := re.match(r"\d+ +(\w+)\(", line):
                made[call[1]] += 1
                if f"<{self.project}" in line or re.search(r'\("(?!/)', line):  # not the output, not /tmp
                    calls.append((call[1], made[call[1]]))
        return calls

    def restore(self) -> None:
        """Put the undisturbed outputs back and remove the snapshots of interrupted trainings."""
        for snapshots in (paths.TEACH_SNAPSHOTS, paths.TRAIN_SNAPSHOTS):
            shutil.rmtree(self.project / snapshots, ignore_errors=True)
        for path, content in self.expected.items():
            (self.project / path).write_bytes(content)

    def reset(self, name: str) -> None:
        """Restore everything but the outputs of one stage, which are removed, as DVC does before it runs a stage."""
        self.restore()
        for path in OUTS[name]:
            (self.project / path).unlink()

    def missing(self, name: str) -> list[str]:
        """The outputs of a stage that do not exist."""
        return [str(path) for path in OUTS[name] if not (self.project / path).exists()]

    def check_outputs(self, name: str) -> None:
        """Check that each output of a stage has the expected bytes or does not exist; timings must be complete."""
        for path in OUTS[name]:
            file = self.project / path
            if not file.exists():
                continue
            if name != "benchmark":
                check(file.read_bytes() == self.expected[path], f"{path} is incomplete or wrong")
            elif path.suffix == ".json":
                try:
                    json.loads(file.read_text("utf-8"))
                except ValueError:
                    raise Violation(f"{path} is incomplete") from None

    def check_success(self, name: str) -> None:
        """Run a stage undisturbed; check that it succeeds with the expected bytes and leaves nothing else."""
        ended = self.run(name)
        check(ended.code == 0, f"{name} fails when it runs again: {ended.errors}")
        check(not self.missing(name), f"{self.missing(name)} missing after success")
        self.check_outputs(name)
        self.check_no_leftovers()

    def check_no_leftovers(self) -> None:
        """Check that neither snapshots nor temporary files are left after a success."""
        for snapshots in (paths.TEACH_SNAPSHOTS, paths.TRAIN_SNAPSHOTS):
            check(not (self.project / snapshots).exists(), f"{snapshots} is left after success")
        temporary = [str(path) for path in self.project.glob("m*/.*.tmp")]
        check(not temporary, f"temporary files are left: {temporary}")
