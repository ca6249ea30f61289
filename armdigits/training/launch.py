"""Start a stage in several processes, on one machine or on several, as torchrun does.

    python -m armdigits.training.launch --nproc-per-node 2 -m stages.train

It takes torchrun's options (https://docs.pytorch.org/docs/stable/elastic/run.html) and differs in three ways: a single
process is started without torchrun; failures are one line each, where torchrun prints tracebacks; the exit code is
that of the rank that failed first.
"""

import argparse
import logging
import os
import runpy
import signal
import sys
import tempfile

from armdigits.core import start, tracked
from armdigits.core.errors import BadInput, Failure, exit_on_failure

RENDEZVOUS_S = 60  # to wait for the other machines


def main() -> None:
    """Run the module in this process or, for several processes, start them with torchrun."""
    parser = argparse.ArgumentParser(
        prog="launch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("-m", "--module", required=True, help="the stage, as stages.train")
    parser.add_argument("--nnodes", default="1", help="number of machines (default: 1)")
    parser.add_argument("--nproc-per-node", "--nproc_per_node", default="1", help="processes on each (default: 1)")
    options, others = parser.parse_known_args()
    name = options.module.rpartition(".")[2]
    with tracked.restored_on_failure(name), exit_on_failure(name):
        if (options.nnodes, options.nproc_per_node) != ("1", "1"):
            sys.exit(_several(name, local=options.nnodes == "1"))
        if others:
            raise BadInput(f"options of torchrun, without several processes: {' '.join(others)}")
    sys.argv[1:] = []  # the arguments of the stage, which has none
    start.prepare(options.module)
    runpy.run_module(options.module, run_name="__main__", alter_sys=True)


def _several(name: str, local: bool) -> int:
    """Start several processes; returns the exit code, and prints the signal that ended them."""
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # errors in C++ are raised as exceptions as well
    code = _torchrun(sys.argv[1:], local)
    if code > 128:
        print(f"{name}: ended by {signal.Signals(code - 128).name}", file=sys.stderr)
    return code


def _torchrun(arguments: list[str], local: bool) -> int:
    """Run torchrun in this process; returns the exit code.

    Raises:
        Failure: a signal ended a rank. A rank that fails in another way prints its own line.
    """
    from torch import distributed as dist  # torch takes seconds to import
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    from armdigits.training.processes import RESUME, unreachable

    logging.disable(logging.ERROR)  # torchrun's tracebacks: each rank has already printed its error
    with tempfile.TemporaryDirectory() as logs:
        ours = ["--standalone", "--local-addr", "localhost"] if local else []
        ours += ["--rdzv-conf", f"timeout={RENDEZVOUS_S}", "--log-dir", logs]
        try:
            run.run(run.parse_args([*ours, *arguments]))
        except ChildFailedError as error:
            # torchrun ends the other ranks with SIGTERM; those that lose their connection first exit with 1.
            later = {-signal.SIGTERM: 2, 1: 1}
            rank, failure = min(error.failures.items(), key=lambda item: later.get(item[1].exitcode, 0))
            if failure.exitcode > 0:
                return int(failure.exitcode)
            killer = signal.Signals(-failure.exitcode).name
            raise Failure(f"rank {rank} (pid {failure.pid}) was ended by {killer}; {RESUME}") from None
        except dist.DistError as error:
            raise BadInput(unreachable(error)) from None
        except SignalException as error:
            return 128 + int(error.sigval)
    return 0


if __name__ == "__main__":
    main()
