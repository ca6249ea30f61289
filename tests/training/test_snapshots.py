"""An interrupted training resumes and ends with the same bytes: the module alone, then real processes and signals."""

import itertools
import json
import random
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from armdigits.core.files import sha256
from armdigits.core.records import Epoch
from armdigits.models.mlp import NeuralNetwork
from armdigits.models.teacher import Teacher
from armdigits.training.loop import train
from armdigits.training.snapshots import Snapshots, fingerprint
from tests.helpers import run_stage, set_parameters, some_images
from tests.training.ranks import OUTS, contents
from tests.training.test_loop import MILD, equal, recipe

FINGERPRINT = {"parameters": "a", "data": "b"}
REFUSED = "... not used: damaged, its SHA-256 is not the one in its name"


def trained(epochs: int, snapshots: Snapshots | None = None) -> tuple[NeuralNetwork, list[Epoch]]:
    """Train for up to `epochs` of 4 epochs, as a run does that is killed then."""
    options = recipe(epochs=4, schedule="one_cycle", warm_up=0.3)
    torch.manual_seed(options.seed)
    model = NeuralNetwork(dropout=options.dropout)
    run = train(model, some_images(70), some_images(20, 9), options, MILD, snapshots=snapshots)
    return model, list(itertools.islice(run, epochs))


def names() -> list[str]:
    return sorted(path.name[:11] for path in Path("state").iterdir())


@pytest.mark.parametrize("epochs", [1, 2, 4])
def test_a_resumed_training_ends_with_the_same_bits(folder, epochs):
    model, history = trained(4)
    trained(epochs, Snapshots(Path("state"), FINGERPRINT))
    again, complete = trained(4, Snapshots(Path("state"), FINGERPRINT))
    assert equal(again, model)
    assert complete == history


def test_a_resumed_teacher_ends_with_the_same_bits(folder):
    def trained_teacher(epochs: int, snapshots: Snapshots | None = None) -> Teacher:
        torch.manual_seed(1)
        teacher = Teacher()
        run = train(teacher, some_images(70), some_images(20, 9), recipe(epochs=3), MILD, snapshots=snapshots)
        list(itertools.islice(run, epochs))
        return teacher

    expected = trained_teacher(3).state_dict()
    trained_teacher(1, Snapshots(Path("state"), FINGERPRINT))
    again = trained_teacher(3, Snapshots(Path("state"), FINGERPRINT)).state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in expected.items())


def test_a_training_resumes_after_its_last_complete_epoch(folder, capsys):
    trained(3, Snapshots(Path("state"), FINGERPRINT))
    trained(4, Snapshots(Path("state"), FINGERPRINT))
    assert "resuming after epoch 3\n" in capsys.readouterr().out


def test_only_the_two_newest_snapshots_are_kept(folder):
    Path("state").mkdir()
    Path("state/.epoch-00001.safetensors.tmp").touch()  # of a killed write
    snapshots = Snapshots(Path("state"), FINGERPRINT)
    trained(3, snapshots)
    assert names() == ["epoch-00002", "epoch-00003"]
    trained(4, Snapshots(Path("state"), FINGERPRINT))
    assert names() == ["epoch-00003", "epoch-00004"]
    snapshots.remove()
    assert not Path("state").exists()


def pickled(_: bytes) -> bytes:
    return b"cos\nsystem\n(S'touch stolen'\ntR."


@pytest.mark.parametrize("damage", [lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[:500], lambda _: b"", pickled])
def test_a_damaged_snapshot_is_reported_and_the_one_before_is_used(folder, capsys, damage):
    model, history = trained(4)
    trained(3, Snapshots(Path("state"), FINGERPRINT))
    newest = max(Path("state").iterdir())
    newest.write_bytes(damage(newest.read_bytes()))
    again, complete = trained(4, Snapshots(Path("state"), FINGERPRINT))
    refused, taken = capsys.readouterr().out.splitlines()
    assert refused == "state: snapshot epoch-00003-" + newest.name[12:15] + REFUSED
    assert taken == "state: resuming after epoch 2"
    assert equal(again, model)
    assert complete == history
    assert not Path("stolen").exists()


def test_a_snapshot_of_another_training_is_reported_and_not_used(folder, capsys):
    trained(3, Snapshots(Path("state"), FINGERPRINT))
    other = Snapshots(Path("state"), {"parameters": "A", "data": "B"})
    _, history = trained(1, other)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(line.endswith("not used: made with different parameters, data") for line in lines)
    assert len(history) == 1
    assert names() == ["epoch-00001"], "the first one that is written replaces the others"


def crafted(tensors=None, metadata=None, **record):
    """The bytes of a snapshot of the tensor `a`, changed."""
    history = [{"epoch": 1, "train_loss": 0.5, "validation_loss": 0.5, "validation_accuracy": 0.9}]
    content = json.dumps({"fingerprint": FINGERPRINT, "history": history, **record})
    return save(tensors or {"a": torch.zeros(3)}, metadata or {"record": content})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (crafted({"b": torch.zeros(3)}), "it has other tensors"),
        (crafted({"a": torch.zeros(1)}), "it has other tensors"),
        (crafted({"a": torch.zeros(3).int()}), "it has other tensors"),
        (crafted({"a": torch.zeros(2**19)}), "larger than 1,048,588 bytes"),
        (crafted(history=[]), "its history has other epochs"),
        (crafted(history=3), "its record: history: input should be a valid array"),
        (crafted(history=[{"epoch": 1}]), "its record: has no entry history.0.train_loss"),
        (crafted(fingerprint=[]), "its record: fingerprint: input should be an object"),
        (crafted(metadata={"record": "[" * 100_000}), "its record: not valid JSON (recursion limit exceeded"),
        (crafted(metadata={"other": "x"}), "its record: not valid JSON (EOF while parsing"),
        (b"\xff" * 8, "a header of 18,446,744,073,709,551,615 bytes"),
        (struct.pack("<Q", 100_000) + b"[" * 100_000, "Error while deserializing"),
        (struct.pack("<Q", 47) + b'{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}', "Error while"),
    ],
)
def test_a_crafted_snapshot_is_reported_and_not_used(folder, capsys, content, reason):
    Path("state").mkdir()
    Path(f"state/epoch-00001-{sha256(content)}.safetensors").write_bytes(content)
    state = {"a": torch.ones(3)}
    assert Snapshots(Path("state"), FINGERPRINT).restore(state) == []
    assert torch.equal(state["a"], torch.ones(3))
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"state: snapshot epoch-00001-{sha256(content)[:3]}... not used: {reason}")


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda: {"parameters": {"seed": 2}}, "parameters"),
        (lambda: Path("script.py").write_text("print()", "utf-8"), "code"),
    ],
)
def test_a_change_of_parameters_or_code_changes_its_part_of_the_fingerprint(folder, change, part):
    Path("script.py").touch()
    before = fingerprint(Path("script.py"), parameters={"seed": 1})
    inputs = change()
    after = fingerprint(Path("script.py"), **(inputs if isinstance(inputs, dict) else {"parameters": {"seed": 1}}))
    assert {name for name in before if before[name] != after[name]} == {part}
    assert set(before) == {"parameters", "code", "versions", "instruction set"}


@pytest.fixture
def project(ran: Path) -> Path:
    """A project with data and a teacher, whose training takes a second or two."""
    set_parameters(ran, {"train.epochs": "15"})
    return ran


@pytest.mark.slow
def test_a_stage_that_is_killed_again_and_again_ends_with_the_same_bytes(project):
    assert run_stage(project, "train").returncode == 0
    expected = contents(project)
    assert not (project / ".state/train").exists(), "a successful training removes its snapshots"
    moments = random.Random(1)  # noqa: S311 - no secrets
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT):
        for name in OUTS:
            (project / name).unlink(missing_ok=True)
        command = [sys.executable, "-m", "stages.train"]
        stage = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        last = moments.randrange(2, 14)
        assert any(line.startswith(f"epoch {last:2}/15") for line in stage.stdout), "the stage has ended"
        stage.send_signal(number)
        _, errors = stage.communicate()
        assert stage.returncode == (-number if number == signal.SIGKILL else 128 + number)
        assert errors == ("" if number == signal.SIGKILL else f"train: ended by {number.name}\n")
        assert not any((project / name).exists() for name in OUTS)
        done = run_stage(project, "train")
        assert done.returncode == 0, done.stderr
        assert "resuming after epoch" in done.stdout
        assert contents(project) == expected


@pytest.mark.slow
def test_after_a_change_of_the_code_the_training_starts_from_the_beginning(project):
    command = [sys.executable, "-m", "stages.train"]
    stage = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, text=True)
    assert any(line.startswith("epoch  2/15") for line in stage.stdout)
    stage.kill()
    stage.communicate()
    module = project / "armdigits/training/loop.py"
    module.write_text(module.read_text("utf-8") + "# changed\n", "utf-8")
    done = run_stage(project, "train")
    assert done.returncode == 0
    assert "not used: made with different code\n" in done.stdout
    assert "resuming" not in done.stdout
