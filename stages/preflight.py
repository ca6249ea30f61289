"""Check params.yaml, and record which machine this is.

    python -m stages.preflight       (dvc repro preflight)

DVC removes the outputs of a stage before it runs. This stage runs before all
others, every time, so that a mistake in params.yaml does not remove the results
of the last run. Only the benchmark depends on the record of the machine: on
another machine, the benchmark alone runs again.
"""

from armdigits.core import paths, stage
from armdigits.core.files import write_json
from armdigits.core.parameters import Parameters
from armdigits.data.dataset import CLASSES
from armdigits.measure import host
from armdigits.models import networks


def main(parameters: Parameters) -> None:
    """Check the network; record that the parameters are valid (`stage.run` has checked the rest), and the machine."""
    networks.build(parameters.model.name, CLASSES)
    write_json(paths.VALID_PARAMETERS, {"params.yaml": "valid"})
    write_json(paths.HOST, host.identify())


if __name__ == "__main__":
    stage.run("preflight", main)
