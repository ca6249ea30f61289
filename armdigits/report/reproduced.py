"""Whether a run made the outputs of the commit again: the hashes in `dvc.lock` beside those in Git."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from armdigits.core import cpu, git, lock, paths, records
from armdigits.core.errors import BadInput
from armdigits.report.against import read_base

INPUTS = ("params.yaml", "dvc.yaml", "armdigits", "stages", str(paths.VALID_PARAMETERS))
MEASURING = ("preflight", "benchmark")  # stages whose outputs are about the machine
DECIDING = ("bits", "torch", "executorch", "torchao")  # entries of host.json; where they are equal, so are the outputs
MAX_NAMES = 5  # of paths in a line


class Reproduced(NamedTuple):
    """The answer in one line, and whether outputs differ that should be equal."""

    line: str
    is_broken: bool = False


def compare_with_commit() -> Reproduced:
    """Compare the outputs of the run in the current folder with those of the last commit.

    Raises:
        BadInput: the commit has no `dvc.lock` to compare with, or one of the files is damaged.
    """
    if changed := git.run("status", "--porcelain", "--", *INPUTS).stdout.decode(errors="replace").splitlines():
        names = _listed([line[3:] for line in changed])
        return Reproduced(f"not compared with the commit, from which {names} differ{'s' if len(changed) == 1 else ''}")
    there = lock.parse_lock(read_base("HEAD", lock.LOCK), f"{lock.LOCK} in HEAD")
    here = lock.read_lock()
    outs = {path: out.md5 for stage, outs in there.items() if stage not in MEASURING for path, out in outs.items()}
    found = {path: out.md5 for outs in here.values() for path, out in outs.items()}
    differing = [path for path, md5 in outs.items() if found.get(path) != md5]
    if not differing:
        return Reproduced(f"reproduced: all {len(outs)} outputs are those of the commit, to the bit")
    line = f"{len(differing)} of {len(outs)} outputs differ from those of the commit: {_listed(differing)}"
    reasons = _other_machine(records.read(paths.HOST, records.Host, "preflight").content(), _host_of_commit())
    if not reasons:
        return Reproduced(f"not reproduced: {line}; this machine should give the same bits", is_broken=True)
    return Reproduced(f"{line}; as expected, because of {', '.join(reasons)}")


def _other_machine(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """Why the two machines need not give the same bits."""
    if here.get("bits") == there.get("bits") != cpu.PROMISED:
        return [f"bits {here.get('bits')}, which are promised on no other machine"]
    return [
        f"{name} {here.get(name)}, there {there.get(name, 'unknown')}"
        for name in DECIDING
        if here.get(name) != there.get(name)
    ]


def _host_of_commit() -> dict[str, Any]:
    try:
        host = json.loads(read_base("HEAD", paths.HOST))
    except (BadInput, ValueError, RecursionError):
        return {}
    return host if isinstance(host, dict) else {}


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")
