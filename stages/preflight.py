"""Check params.yaml, DVC's cache and the user's images, and record which machine this is.

    python -m stages.preflight       (dvc repro preflight)

DVC removes the outputs of a stage before it runs. This stage runs before all
others, every time, so that a mistake in params.yaml or in the files of
dataset.path does not remove the results of the last run. Its record contains a
digest of these files: when one changes, `download` runs again. `teach` depends
on another record, whether a teacher is needed, and not on its weight. Only the
benchmark depends on the record of the machine: on another machine, the
benchmark alone runs again.
"""

import shlex
from pathlib import Path

from armdigits.core import cpu, paths, records, stage
from armdigits.core.cache import damaged_objects
from armdigits.core.errors import BadInput
from armdigits.core.files import write_bytes, write_json
from armdigits.core.lock import read_lock
from armdigits.core.parameters import Parameters, check_sizes
from armdigits.core.shape import Shape
from armdigits.csource.toolchain import TARGETS
from armdigits.data import registry
from armdigits.data.survey import checksums, digest
from armdigits.measure import host

MODELS = Path("armdigits/models")


def check_network(name: str, shape: Shape, classes: int) -> None:
    """Build the network, unless it was built before from the same code: that takes seconds, because it imports torch.

    Raises:
        BadInput: as `networks.build`.
    """
    code = digest(MODELS, checksums(tuple(sorted(MODELS.glob("*.py")))))
    built = f"{name}, {list(shape)}, {classes} classes, {code}\n".encode()
    if paths.BUILT_NETWORK.exists() and paths.BUILT_NETWORK.read_bytes() == built:
        return
    from armdigits.models import networks

    networks.build(name, shape, classes)
    write_bytes(paths.BUILT_NETWORK, built)


def check_targets(names: list[str]) -> None:
    """Check `export.targets`.

    Raises:
        BadInput: there is no such target.
    """
    if unknown := [name for name in names if name not in TARGETS]:
        raise BadInput(
            f"params.yaml: export.targets: expected names among {', '.join(TARGETS)}, got {', '.join(unknown)}"
        )


def check_cache() -> None:
    """Check the objects in DVC's cache that `dvc.lock` names.

    Raises:
        BadInput: DVC would put a damaged one in the place of an output; the message has the command that helps.
    """
    damaged = damaged_objects(read_lock())
    if damaged:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in damaged.items())
        raise BadInput(f"damaged in DVC's cache: {reasons}; run: rm -rf {shlex.join(map(str, damaged))} && dvc repro")


def main(parameters: Parameters) -> None:
    """Check DVC's cache, the data set, targets and network; record that all is valid, the teacher, and the machine."""
    check_cache()
    survey = registry.survey(parameters.dataset)
    record = registry.record(parameters.dataset, survey)  # first: other files than before are the reason of the rest
    check_sizes(parameters, len(survey.classes), survey.train_images, survey.added)
    check_targets(parameters.export.targets)
    check_network(parameters.model.name, survey.shape, len(survey.classes))
    write_json(paths.VALID_PARAMETERS, {"params.yaml": "valid", **record})
    records.write(paths.TEACHER, records.TeacherNeed(needed=parameters.train.teacher_weight > 0))
    compute = parameters.compute
    print(cpu.explained(compute.instructions, compute.device))
    bits = cpu.bits(compute.instructions, compute.device)
    records.write(paths.HOST, records.Host.model_validate({**host.identify(), "bits": bits}))


if __name__ == "__main__":
    stage.run("preflight", main)
