"""The command `armdigits VERB`. Each verb is a module in this folder, imported only when the verb is called.

A verb's module has two functions: `configure(parser)` adds its arguments, `run(options)` does the work and returns the
exit code, or None for 0. Its docstring is the text of `armdigits VERB --help`.
"""

import argparse
import sys
from importlib import import_module
from typing import NoReturn

from armdigits.core import paths
from armdigits.core.errors import BadInput, exit_on_failure

VERBS = {
    "predict": "read the digits in pictures",
    "reproduce": "run the pipeline and print the results table",
    "show": "print the last run in 80 columns, timings apart",
    "results": "print the results table of the last run, or update README.md",
    "report": "write report/index.html, a page that shows the last run",
    "plots": "write dvc_plots/index.html, DVC's page of this run and of another commit",
    "draw": "write report/draw.html, a page to draw on",
    "summary": "print results and changes against another commit, in Markdown",
    "tutorial": "run the tutorial's recipe and print it beside this project's",
    "experiment": "run one experiment, sharing results through DVC's remote",
    "sweep": "print a table of experiments, mean and deviation over seeds",
    "compare": "compare the results of two machines",
    "verify": "check outputs, DVC's cache and the digests that tie them",
    "dataset": "set params.yaml to a data set: MNIST, digits, or your own files",
}
EXAMPLES = """examples:
  armdigits predict photo.jpg            photo.jpg: 7  (7 99.2 %, 2 0.5 %, 3 0.1 %)
  armdigits summary main                 what changed against the branch main
  armdigits predict --help               the arguments of a verb, with examples

Run it from the project folder, after `make repro` or `dvc pull`."""


class Parser(argparse.ArgumentParser):
    """A parser that reports a wrong argument like any other bad input: one line, exit code 2."""

    def error(self, message: str) -> NoReturn:
        """Raise BadInput."""
        raise BadInput(f"{message}; see: {self.prog} --help")


def main(arguments: list[str] | None = None) -> int:
    """Call a verb with its arguments, by default those of the command line; returns the exit code.

    Raises:
        SystemExit: the verb failed; the reason is on stderr.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    verb = arguments[0] if arguments and arguments[0] in VERBS else None
    with exit_on_failure(verb or "armdigits"):
        try:
            options = _parser(verb).parse_args(arguments)
            if not paths.PARAMETERS.exists():
                raise BadInput(f"there is no {paths.PARAMETERS} here; run from the project folder")
            return options.run(options) or 0
        except KeyboardInterrupt:
            return 130  # 128 + SIGINT, as shells report it
        finally:
            sys.stdout.flush()  # also after --help: exit_on_failure then handles a closed pipe
    raise AssertionError("exit_on_failure ends the process")


def _parser(verb: str | None) -> Parser:
    """The parser of all verbs; the one that is called has its arguments."""
    text = "Work with the results of the pipeline: handwritten digits as an int8 program for Arm CPUs."
    verbs = "\n".join(f"  {name:13}{summary}" for name, summary in VERBS.items())
    layout = argparse.RawDescriptionHelpFormatter
    parser = Parser(prog="armdigits", description=text, epilog=f"verbs:\n{verbs}\n\n{EXAMPLES}", formatter_class=layout)
    parsers = parser.add_subparsers(metavar="VERB", required=True, help="what to do, see below")
    for name in VERBS:
        if name != verb:
            parsers.add_parser(name)
            continue
        module = import_module(f"armdigits.cli.{name}")
        called = parsers.add_parser(name, description=module.__doc__, formatter_class=layout)
        module.configure(called)
        called.set_defaults(run=module.run)
    return parser
