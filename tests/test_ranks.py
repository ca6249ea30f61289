"""Training on several processes: real ones, which torch's engine starts and connects."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from armdigits import paths
from armdigits.dataset import write_dataset
from armdigits.model import NeuralNetwork
from armdigits.ranks import ALONE, Ranks, joined
from armdigits.training import train
from tests.conftest import ROOT, copy_project, run, run_stage, set_parameters, some_images
from tests.test_training import MILD, OFF, opinions, recipe, same_up_to_rounding

OUTS = ("models/model.safetensors", "models/layers.txt", "metrics/train.json", "metrics/history.csv")
AGAIN = "run again to go on after the last whole epoch"


@pytest.mark.parametrize("images", [0, 1, 2, 5, 32, 33])
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_shares_of_all_ranks_are_the_batch_each_image_once(images, count):
    places = torch.arange(images)
    shares = torch.stack([Ranks(rank, count).share(places) for rank in range(count)])
    assert torch.equal(shares.sum(dim=0), torch.ones(images, dtype=torch.int64))
    assert int(shares.sum(dim=1).max()) - int(shares.sum(dim=1).min()) <= 1


def trained(case: dict, ranks: Ranks = ALONE) -> NeuralNetwork:
    """A network after two epochs of 70 images, without dropout, which is drawn on each rank for itself."""
    options = recipe(dropout=0.0, batch_size=case["batch_size"])
    torch.manual_seed(options.seed)
    network = NeuralNetwork(dropout=0.0)
    augmentation, distillation = case.get("augmentation", OFF), case.get("distillation")
    list(train(network, some_images(70), some_images(20, 9), options, augmentation, distillation, ranks=ranks))
    return network


CASES = [
    {"batch_size": 32},
    {"batch_size": 33},  # no batch divides evenly
    {"batch_size": 69, "augmentation": MILD},  # the last batch has one image: one rank has it, the others none
    {"batch_size": 32, "augmentation": MILD, "distillation": opinions()},
]
TRAINER = """
import json, sys
import torch
from safetensors.torch import save_file
from armdigits import ranks
from tests.test_ranks import CASES, trained
assert not torch.distributed.is_initialized()
with ranks.joined(torch.device("cpu")) as group:
    for number, case in enumerate(CASES):
        network = trained(case, group)
        save_file(dict(network.state_dict()), f"{sys.argv[1]}/{number}-{group.rank}.safetensors")
    said, seeds = group.gather("rank " + "é" * group.rank), group.gather(str(torch.initial_seed()))
    print(json.dumps([said, seeds]))
"""


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start_ranks(folders: list[Path], *command: str) -> list[subprocess.Popen]:
    """Start a rank in each folder, as torchrun on machines of their own would: by the variables that it sets."""
    port = str(free_port())
    common = {**os.environ, "WORLD_SIZE": str(len(folders)), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return [
        subprocess.Popen([sys.executable, *command], cwd=folder, env={**common, "RANK": str(rank)}, **pipes)
        for rank, folder in enumerate(folders)
    ]


def ended(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of each."""
    outputs = [process.communicate(timeout=100) for process in processes]
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]


def test_one_process_never_initialises_torchs_communication():
    with joined(torch.device("cpu")) as group:
        assert group is ALONE
        trained(CASES[0], group)
        assert group.gather("said") == ["said"]
        assert not torch.distributed.is_initialized()


@pytest.fixture(scope="module", params=[2, 3])
def weights(request, tmp_path_factory) -> tuple[Path, int]:
    """A folder with the weights of every case and rank, and how many ranks there were."""
    folder = tmp_path_factory.mktemp("weights")
    results = ended(start_ranks([ROOT] * request.param, "-c", TRAINER, str(folder)))
    assert [code for code, *_ in results] == [0] * request.param, results
    for said, seeds in (json.loads(out) for _, out, _ in results):
        assert said == ["rank ", "rank é", "rank éé"][: request.param]
        assert len(set(seeds)) == request.param, "each rank draws its own dropout"
    return folder, request.param


@pytest.mark.parametrize("number", range(len(CASES)))
def test_several_ranks_train_what_one_process_trains_up_to_rounding(weights, number):
    folder, count = weights
    expected, found = trained(CASES[number]), NeuralNetwork(dropout=0.0)
    for rank in range(count):
        found.load_state_dict(load_file(folder / f"{number}-{rank}.safetensors"))
        assert same_up_to_rounding(found, expected)


@pytest.mark.parametrize("number", range(len(CASES)))
def test_all_ranks_end_with_the_same_bits(weights, number):
    folder, count = weights
    first, *others = [load_file(folder / f"{number}-{rank}.safetensors") for rank in range(count)]
    assert all(torch.equal(other[name], tensor) for other in others for name, tensor in first.items())


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A project with a little data and no teacher, whose training takes two processes and a second or two."""
    project = copy_project(tmp_path_factory.mktemp("ranks") / "project")
    set_parameters(project, {"train.processes": "2", "train.teacher_weight": "0", "train.temperature": "1"})
    set_epochs(project, 60)
    write_data(project, seed=1)
    return project


def set_epochs(project: Path, epochs: int) -> None:
    set_parameters(project, {"train.epochs": str(epochs)})


def write_data(project: Path, seed: int) -> None:
    with contextlib.chdir(project):
        splits = (paths.TRAIN_DATA, some_images(130, seed)), (paths.VALIDATION_DATA, some_images(20, 9))
        write_dataset("digits", {"noise": str(seed)}, dict(splits))


@pytest.fixture(scope="module")
def expected(project) -> dict[str, bytes]:
    """What two processes make when nothing disturbs them."""
    done = run_stage(project, "train")
    assert (done.returncode, done.stderr) == (0, "")
    assert [line[:9] for line in done.stdout.splitlines()[-60:]] == [f"epoch {epoch:2}/" for epoch in range(1, 61)]
    assert not (project / ".state/train").exists()
    return contents(project)


def contents(project: Path) -> dict[str, bytes]:
    return {name: (project / name).read_bytes() for name in OUTS}


def start(project: Path) -> tuple[subprocess.Popen, list[int]]:
    """Start the stage and wait for its second epoch; returns it and the ids of the ranks, in their order."""
    for name in OUTS:
        (project / name).unlink(missing_ok=True)
    command = [sys.executable, "-m", "stages.train"]
    stage = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert any(line.startswith("epoch  2/") for line in stage.stdout)
    ranks = Path(f"/proc/{stage.pid}/task/{stage.pid}/children").read_text().split()
    assert len(ranks) == 2
    return stage, [int(pid) for pid in ranks]


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


needs_proc = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="the ranks are found through /proc")


@needs_proc
def test_a_killed_rank_ends_all_and_the_next_run_ends_with_the_same_bytes(project, expected):
    for killed in (0, 1):
        stage, pids = start(project)
        os.kill(pids[killed], signal.SIGKILL)
        _, errors = stage.communicate(timeout=60)
        assert stage.returncode == 1
        *lost, last = errors.splitlines()
        assert last == f"train: rank {killed} (pid {pids[killed]}) was ended by SIGKILL; {AGAIN}"
        gone = r"train(, rank 1)?: another rank is gone or cannot be reached \(.*\); " + AGAIN
        assert all(re.fullmatch(gone, line) for line in lost), lost
        assert all(map(is_gone, pids))
        assert not any((project / name).exists() for name in OUTS)
    done = run_stage(project, "train")
    assert (done.returncode, done.stderr) == (0, "")
    assert "going on after epoch" in done.stdout
    assert contents(project) == expected


@needs_proc
def test_a_signal_ends_the_stage_and_its_ranks_as_it_ends_a_single_process(project):
    set_epochs(project, 10_000)
    stage, pids = start(project)
    stage.send_signal(signal.SIGTERM)
    _, errors = stage.communicate(timeout=60)
    set_epochs(project, 60)
    assert (stage.returncode, errors) == (143, "train: ended by SIGTERM\n")
    assert all(map(is_gone, pids))


@needs_proc
def test_ranks_that_lost_their_starter_hold_the_lock(project):
    set_epochs(project, 10_000)
    stage, pids = start(project)
    stage.kill()
    done = run_stage(project, "train")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    stage.communicate()
    set_epochs(project, 60)
    assert done.returncode == 2
    assert done.stderr == f"train: another train is running (pid {pids[0]}); wait for it or end it\n"


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            lambda folder: set_parameters(folder, {"train.learning_rate": "0.002"}),
            "rank 1 has other parameters than rank 0; give every machine the same",
        ),
        (lambda folder: write_data(folder, seed=2), "rank 1 has other data than rank 0; give every machine the same"),
        (
            lambda folder: (folder / paths.VALIDATION_DATA).unlink(),
            "rank 1: data/validation.safetensors: there is no such file; run: dvc repro download",
        ),
    ],
)
def test_a_rank_with_other_inputs_is_refused_with_one_line(project, tmp_path, change, line):
    other = shutil.copytree(project, tmp_path / "other")
    change(other)
    (code, _, errors), (code_of_1, out, silence) = ended(start_ranks([project, other], "-m", "stages.train"))
    assert (code, errors) == (2, f"train: {line}\n")
    assert (code_of_1, out, silence) == (2, "", "")


def test_another_number_of_ranks_than_params_yaml_says_is_refused(project):
    done = run_stage(project, "train", RANK="0", WORLD_SIZE="1", MASTER_ADDR="127.0.0.1", MASTER_PORT="1")
    assert done.returncode == 2
    assert done.stderr == "train: params.yaml: train.processes: expected 1, as torchrun has it, got 2\n"


IMPATIENT = """
from datetime import timedelta
from stages import train
train.ranks.TIMEOUT = timedelta(seconds=1)
train.stage.run("train", train.main, train.start)
"""


def test_ranks_that_cannot_be_reached_are_told_in_one_line(project):
    variables = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    done = run(project, sys.executable, "-c", IMPATIENT, TORCH_CPP_LOG_LEVEL="FATAL", **variables)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    where = f"127.0.0.1:{variables['MASTER_PORT']}"
    assert line.startswith(f"train, rank 1: the other ranks cannot be reached at {where} (The client socket has timed")


def test_a_first_machine_that_cannot_be_reached_is_told_in_one_line(project):
    there = ["--nnodes=2", "--node-rank=1", "--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    done = run(project, sys.executable, "-m", "stages.train", "--rdzv-conf=timeout=1", *there)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("train: the other ranks cannot be reached (The client socket has timed out")


def test_arguments_without_several_processes_are_refused(folder):
    project = copy_project(folder / "project")
    done = run(project, sys.executable, "-m", "stages.train", "--nnodes=2")
    assert done.returncode == 2
    assert done.stderr == "train: arguments (--nnodes=2) are torchrun's, for train.processes above 1\n"
