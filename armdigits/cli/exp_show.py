"""The experiments of this commit, as `dvc exp show` knows them: what `armdigits sweep` reads."""

import json
from typing import Any

from armdigits.cli import dvc
from armdigits.core import git, paths

Parameters = dict[str, Any]  # values by key, as train.seed


def shown() -> str:
    """The experiments of this commit, as `dvc exp show --json` prints them.

    Of a stage that an experiment did not run, DVC shows the metrics of an earlier run. They are left out here.
    """
    from ruamel.yaml import YAML  # `armdigits sweep FILE` needs only Python

    commits = json.loads(dvc.ask("exp", "show", "--json"))
    for commit in commits:
        for experiment in commit["experiments"] or []:
            if not (content := experiment["revs"][0]["data"]):
                continue
            lock = YAML(typ="safe").load(git.run("show", f"{content['rev']}:./dvc.lock").stdout) or {"stages": {}}
            for path in left_over(lock, flat(content["params"][str(paths.PARAMETERS)]["data"])):
                content["metrics"].pop(path, None)
    return json.dumps(commits)


def left_over(lock: dict[str, Any], parameters: Parameters) -> list[str]:
    """The outputs in a dvc.lock of stages that ran with other inputs, or with other values than `parameters`."""
    stages = lock["stages"].values()
    written = {out["path"]: out.get("md5") for stage in stages for out in stage.get("outs", [])}

    def ran(stage: dict[str, Any]) -> bool:
        recorded = flat(stage.get("params", {}).get(str(paths.PARAMETERS), {}))
        inputs = {dep["path"]: dep.get("md5") for dep in stage.get("deps", [])}
        made = {path: written.get(path, md5) for path, md5 in inputs.items()}
        return inputs == made and recorded.items() <= parameters.items()

    return [out["path"] for stage in stages if not ran(stage) for out in stage.get("outs", [])]


def flat(sections: dict[str, Any]) -> Parameters:
    """{"train": {"seed": 1}} as {"train.seed": 1}; a value that is in no section keeps its key."""
    values: Parameters = {}
    for name, section in sections.items():
        inside = isinstance(section, dict)
        values |= {f"{name}.{key}": value for key, value in section.items()} if inside else {name: section}
    return values
