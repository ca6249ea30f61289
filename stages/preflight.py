"""Check params.yaml, and write down which machine this is.

    python -m stages.preflight       (dvc repro preflight)

DVC removes the outputs of a stage before it starts it. This stage runs before all others, every time, so that a
mistake in params.yaml costs nobody the results of the last run. What it writes on the machine makes the benchmark,
and nothing else, run again on another one.
"""

from armdigits import host, paths, stage
from armdigits.files import write_json
from armdigits.parameters import Parameters


def main(_parameters: Parameters) -> None:
    """Write that the parameters are valid (they are, when this is called), and the host."""
    write_json(paths.VALID_PARAMETERS, {"params.yaml": "valid"})
    write_json(paths.HOST, host.identify())


if __name__ == "__main__":
    stage.run("preflight", main)
