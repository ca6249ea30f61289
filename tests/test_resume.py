"""A killed training goes on and ends with the same bytes: the module alone, then real processes and real signals."""

import itertools
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from armdigits.model import NeuralNetwork
from armdigits.resume import Snapshots, fingerprint
from armdigits.teacher import Teacher
from armdigits.training import Epoch, train
from tests.conftest import run_stage, set_parameters, some_images
from tests.test_training import MILD, recipe, same

CAUSES = {"parameters": "a", "data": "b"}
OUTS = ("models/model.safetensors", "models/layers.txt", "metrics/train.json", "metrics/history.csv")


def trained(epochs: int, snapshots: Snapshots | None = None) -> tuple[NeuralNetwork, list[Epoch]]:
    """Train for up to `epochs` of 4 epochs, as a run does that is killed then."""
    options = recipe(epochs=4, schedule="one_cycle", warm_up=0.3)
    torch.manual_seed(options.seed)
    network = NeuralNetwork(dropout=options.dropout)
    run = train(network, some_images(70), some_images(20, 9), options, MILD, snapshots=snapshots)
    return network, list(itertools.islice(run, epochs))


def names() -> list[str]:
    return sorted(path.name[:11] for path in Path("state").iterdir())


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_a_training_that_goes_on_ends_with_the_same_bits(folder, epochs):
    network, curve = trained(4)
    trained(epochs, Snapshots(Path("state"), CAUSES))
    again, whole = trained(4, Snapshots(Path("state"), CAUSES))
    assert same(again, network)
    assert whole == curve


def test_a_teacher_goes_on_with_the_same_bits_whose_weights_lie_channels_last(folder):
    def taught(epochs: int, snapshots: Snapshots | None = None) -> Teacher:
        torch.manual_seed(1)
        teacher = Teacher()
        run = train(teacher, some_images(70), some_images(20, 9), recipe(epochs=3), MILD, snapshots=snapshots)
        list(itertools.islice(run, epochs))
        return teacher

    expected = taught(3).state_dict()
    taught(1, Snapshots(Path("state"), CAUSES))
    again = taught(3, Snapshots(Path("state"), CAUSES)).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in expected.items())


def test_it_goes_on_where_it_was_and_not_from_the_start(folder, capsys):
    trained(3, Snapshots(Path("state"), CAUSES))
    trained(4, Snapshots(Path("state"), CAUSES))
    assert "going on after epoch 3\n" in capsys.readouterr().out


def test_the_newest_two_are_kept_and_nothing_else(folder):
    Path("state").mkdir()
    Path("state/.epoch-00001.safetensors.1.tmp").touch()
    snapshots = Snapshots(Path("state"), CAUSES)
    trained(3, snapshots)
    assert names() == ["epoch-00002", "epoch-00003"]
    trained(4, Snapshots(Path("state"), CAUSES))
    assert names() == ["epoch-00003", "epoch-00004"]
    snapshots.remove()
    assert not Path("state").exists()


def pickled(_: bytes) -> bytes:
    return b"cos\nsystem\n(S'touch stolen'\ntR."


@pytest.mark.parametrize("damage", [lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[:500], lambda _: b"", pickled])
def test_a_damaged_snapshot_is_told_and_the_one_before_it_is_taken(folder, capsys, damage):
    network, curve = trained(4)
    trained(3, Snapshots(Path("state"), CAUSES))
    newest = max(Path("state").iterdir())
    newest.write_bytes(damage(newest.read_bytes()))
    again, whole = trained(4, Snapshots(Path("state"), CAUSES))
    refused, taken = capsys.readouterr().out.splitlines()
    assert refused == f"{newest}: not used: damaged, its SHA-256 is not the one in its name"
    assert taken.endswith("going on after epoch 2")
    assert same(again, network)
    assert whole == curve
    assert not Path("stolen").exists()


def test_a_snapshot_of_another_training_is_told_and_not_taken(folder, capsys):
    trained(3, Snapshots(Path("state"), CAUSES))
    other = Snapshots(Path("state"), {"parameters": "A", "data": "B"})
    _, curve = trained(1, other)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.endswith("not used: made with other parameters, other data") for line in lines)
    assert len(curve) == 1
    assert names() == ["epoch-00001"], "the first that is written clears the others away"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda: {"parameters": {"seed": 2}}, {"parameters"}),
        (lambda: Path("script.py").write_text("print()"), {"code"}),
        (lambda: torch.set_num_threads(torch.get_num_threads() + 1), {"threads"}),
    ],
)
def test_every_cause_of_other_bits_shows_in_the_fingerprint(folder, change, cause):
    Path("script.py").touch()
    threads = torch.get_num_threads()
    before = fingerprint(Path("script.py"), parameters={"seed": 1})
    inputs = change()
    after = fingerprint(Path("script.py"), **(inputs if isinstance(inputs, dict) else {"parameters": {"seed": 1}}))
    torch.set_num_threads(threads)
    assert {name for name in before if before[name] != after[name]} == cause
    assert set(before) == {"parameters", "code", "versions", "instruction set", "threads"}


@pytest.fixture
def project(ran: Path) -> Path:
    """A project with data and a teacher, whose training takes a second or two."""
    set_parameters(ran, {"train.epochs": "15"})
    return ran


def contents(project: Path) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in OUTS}


def test_a_stage_killed_over_and_over_ends_with_the_same_bytes(project):
    assert run_stage(project, "train").returncode == 0
    expected = contents(project)
    assert not (project / ".state/train").exists(), "the state goes with the success"
    moments = random.Random(1)  # noqa: S311 - moments, not secrets
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        for name in OUTS:
            (project / name).unlink(missing_ok=True)
        command = [sys.executable, "-m", "stages.train"]
        stage = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        last = moments.randrange(2, 14)
        assert any(line.startswith(f"epoch {last:2}/15") for line in stage.stdout), "it got so far"
        stage.send_signal(number)
        _, errors = stage.communicate()
        assert stage.returncode == (-number if number == signal.SIGKILL else 128 + number)
        assert errors == ("" if number == signal.SIGKILL else f"train: ended by {number.name}\n")
        assert not any((project / name).exists() for name in OUTS)
        done = run_stage(project, "train")
        assert done.returncode == 0, done.stderr
        assert "going on after epoch" in done.stdout
        assert contents(project) == expected


def test_a_change_of_the_code_starts_the_training_anew(project):
    command = [sys.executable, "-m", "stages.train"]
    stage = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
    assert any(line.startswith("epoch  2/15") for line in stage.stdout)
    stage.kill()
    stage.communicate()
    module = project / "armdigits/training.py"
    module.write_text(module.read_text() + "# changed\n")
    done = run_stage(project, "train")
    assert done.returncode == 0
    assert "not used: made with other code\n" in done.stdout
    assert "going on" not in done.stdout
