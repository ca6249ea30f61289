"""`armdigits experiment`."""

import pytest

from armdigits.cli import dvc, main


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The DVC commands, recorded instead of run; the default remote is called `storage`."""
    made: list[str] = []

    def run(*arguments: str) -> int:
        made.append(" ".join(arguments))
        return 0

    monkeypatch.setattr(dvc, "run", run)
    monkeypatch.setattr(dvc, "require_git", lambda **_: None)
    monkeypatch.setattr(dvc, "ask", lambda *_: "storage\n")
    return made


def test_it_pulls_runs_up_to_quantize_and_pushes(calls):
    assert main(["experiment", "train.seed=2", "train.learning_rate=0.002"]) == 0
    assert calls == [
        "pull --quiet --allow-missing",
        "exp run --set-param train.seed=2 --set-param train.learning_rate=0.002 evaluate quantize",
        "push --quiet",
    ]


def test_without_a_remote_it_only_runs(calls, monkeypatch):
    monkeypatch.setattr(dvc, "ask", lambda *_: "\n")  # what DVC prints where there is no remote
    assert main(["experiment", "train.seed=2"]) == 0
    assert calls == ["exp run --set-param train.seed=2 evaluate quantize"]


def test_without_any_setting_nothing_runs(calls, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["experiment"])
    assert ended.value.code == 2
    assert "the following arguments are required: KEY=VALUE" in capsys.readouterr().err
    assert calls == []


def test_a_setting_without_a_value_is_refused_before_anything_runs(calls, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["experiment", "train.seed"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "experiment: expected values such as train.seed=2, got train.seed\n"
    assert calls == []
