"""Run one experiment of a sweep on this machine, which may be any: what is shared goes through DVC's remote.

    python -m tools.experiment train.seed=2 train.learning_rate=0.002    (make experiment SET="train.seed=2 ...")

With a default remote, what the commit's dvc.lock names is fetched first, so that nobody trains the same teacher twice,
and what this machine makes is sent there. Without a remote it computes what is missing. The stages up to quantize run:
times that are taken beside other experiments mean nothing. Git gets nothing; `dvc exp show --json` has the result, and
`python -m tools.sweep` makes the table of the machines' results.
"""

import subprocess
import sys

from armdigits.errors import BadInput, Failure, reported


def dvc(*arguments: str) -> None:
    """Run DVC with its output on the screen; a failure of it is ours."""
    if code := subprocess.run(["dvc", *arguments], check=False).returncode:
        raise Failure(f"dvc {' '.join(arguments)} ended with exit code {code}")


def has_remote() -> bool:
    """Whether there is a default remote."""
    return subprocess.run(["dvc", "config", "core.remote"], capture_output=True, check=False).returncode == 0


def main(settings: list[str]) -> None:
    """Fetch, run, send."""
    if wrong := [setting for setting in settings if "=" not in setting or setting.startswith("-")]:
        raise BadInput(f"expected values as train.seed=2, got {wrong[0]}")
    remote = has_remote()
    if remote:
        dvc("pull", "--quiet", "--allow-missing")
    dvc("exp", "run", *(part for setting in settings for part in ("--set-param", setting)), "evaluate", "quantize")
    if remote:
        dvc("push", "--quiet")


if __name__ == "__main__":
    with reported("experiment"):
        main(sys.argv[1:])
