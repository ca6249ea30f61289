"""The campaign itself: it passes on the stages as they are, and finds a writer that leaves half of a file."""

import pickle
import random
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from armdigits.core import files
from tests.campaign import corruptions, faults, kills
from tests.campaign.__main__ import main
from tests.campaign.checks import Violation
from tests.campaign.laboratory import OUTS, Laboratory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Laboratory:
    """A laboratory with the stage that starts quickest."""
    return Laboratory(tmp_path_factory.mktemp("campaign"), seed=1, stages=["download"])


def test_a_campaign_on_one_stage_ends_without_violations(capsys):
    assert main(seconds=5, seed=1, stages=["download"]) == 0
    assert ", 0 violations" in capsys.readouterr().out


def test_a_half_written_output_is_a_violation(lab, monkeypatch):
    monkeypatch.setattr(files, "write_bytes", lambda path, data: path.write_bytes(data[: len(data) // 2]))
    with pytest.raises(Violation, match="is incomplete or wrong"):
        faults.fault(lab, "download", partial(lab.run, "download"))


def test_a_traceback_is_a_violation(lab, monkeypatch):
    monkeypatch.setattr(files, "write_bytes", lambda _path, _data: 1 / 0)
    with pytest.raises(Violation, match="not one line: Traceback"):
        faults.fault(lab, "download", partial(lab.run, "download"))


def test_without_the_train_stage_there_is_nothing_to_kill(lab):
    assert list(kills.kills(lab, [])) == []


def test_an_artifact_with_the_bytes_of_another_run_is_skipped_and_named(tmp_path, capsys):
    for path in corruptions.READERS:
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(b"the same")
    expected = dict.fromkeys(corruptions.READERS, b"the same")
    twins: Any = SimpleNamespace(stages=list(OUTS), other=tmp_path, expected=expected)
    trials = list(corruptions.corruptions(twins))
    assert not [trial for trial in trials if trial.what == "file of another run"]
    line = "models/empty.pte: not exchanged for that of another run, which has the same bytes"
    assert line in capsys.readouterr().out


@pytest.mark.parametrize("damage", corruptions.DAMAGES)
def test_damage_changes_the_bytes(lab, damage):
    assert damage(b"content", lab.random) != b"content"


def test_loading_the_pickle_leaves_the_file_that_the_trials_look_for(folder):
    pickle.loads(corruptions.pickled(b"", random.Random()))  # noqa: S301, S311
    assert Path(corruptions.LOADED_CODE).exists()
