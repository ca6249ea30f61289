"""Call Git for the repository in which the current folder lies, also from a hook of another one."""

import os
import subprocess
from functools import cache


def run(*arguments: str, standard_input: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run a Git command in the current folder and capture its output; its messages are English.

    Raises:
        FileNotFoundError: there is no Git.
    """
    variables = {**environment(), "LC_ALL": "C"}
    return subprocess.run(["git", *arguments], env=variables, input=standard_input, capture_output=True, check=False)


def environment() -> dict[str, str]:
    """The variables of this process without those that name a repository.

    Git sets them for its hooks, and they count in every folder: in a copy of the project, in which DVC runs an
    experiment, Git would still work in the user's repository.
    """
    return {name: value for name, value in os.environ.items() if name not in local_variables()}


@cache
def local_variables() -> frozenset[str]:
    """The names of the variables that name a repository or a part of it."""
    try:
        done = subprocess.run(["git", "rev-parse", "--local-env-vars"], capture_output=True, check=False)
    except FileNotFoundError:
        return frozenset()
    return frozenset(done.stdout.decode().split())
