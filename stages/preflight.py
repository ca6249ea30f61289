"""Check params.yaml and the user's images, and record which machine this is.

    python -m stages.preflight       (dvc repro preflight)

DVC removes the outputs of a stage before it runs. This stage runs before all
others, every time, so that a mistake in params.yaml or in the files of
dataset.path does not remove the results of the last run. Its record contains a
digest of these files: when one changes, `download` runs again. Only the
benchmark depends on the record of the machine: on another machine, the
benchmark alone runs again.
"""

from armdigits.core import paths, stage
from armdigits.core.files import write_json
from armdigits.core.parameters import Parameters, check_sizes
from armdigits.data import registry
from armdigits.measure import host
from armdigits.models import networks


def main(parameters: Parameters) -> None:
    """Check the data set and the network; record that the parameters are valid, and which machine this is."""
    survey = registry.survey(parameters.dataset)
    check_sizes(parameters, len(survey.classes), survey.train_images, survey.added)
    networks.build(parameters.model.name, len(survey.classes))
    write_json(paths.VALID_PARAMETERS, {"params.yaml": "valid", **registry.record(parameters.dataset, survey)})
    write_json(paths.HOST, host.identify())


if __name__ == "__main__":
    stage.run("preflight", main)
