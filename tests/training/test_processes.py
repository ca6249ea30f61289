"""Several processes train one model: real ones, connected by gloo."""

import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.core.stage import rank_of_this_process
from armdigits.models.mlp import NeuralNetwork
from armdigits.training.batches import chunks_of_epoch
from armdigits.training.fast_step import choose_step
from armdigits.training.loop import train
from armdigits.training.processes import SINGLE, Group, choose_device, join, world_size
from armdigits.training.step import PlainStep
from tests.helpers import ROOT, run, run_stage, set_parameters, some_images
from tests.training.ranks import ended, free_port, make_project, start_ranks, write_data
from tests.training.test_loop import MILD, OFF, equal_up_to_rounding, recipe, some_distillation


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_the_ranks_share_each_batch_equally_and_each_image_once(world_size):
    """Of 70 images in batches of 12, the last batch has 10; 10 % 3 images and 10 % 6 images are left out."""
    data, options = some_images(70), recipe(batch_size=12)
    groups = [Group(rank, world_size) for rank in range(world_size)]
    (alone,) = chunks_of_epoch(data, None, options, MILD, 1)
    shares = [next(chunks_of_epoch(data, None, options, MILD, 1, group)) for group in groups]
    for batch, *parts in zip(alone.batches(), *(share.batches() for share in shares), strict=True):
        images = torch.stack([part.images for part in parts], dim=1).flatten(0, 1)
        assert torch.equal(images, batch.images[: len(batch.images) // world_size * world_size])


CASES = [
    {"batch_size": 30},
    {"batch_size": 30, "make_step": PlainStep},
    {"batch_size": 6, "augmentation": MILD, "distillation": some_distillation()},
]


def trained(case: dict, group: Group = SINGLE) -> NeuralNetwork:
    """A model after two epochs of 66 images, without dropout, which each rank draws for itself."""
    options = recipe(dropout=0.0, batch_size=case["batch_size"])
    torch.manual_seed(options.seed)
    model = NeuralNetwork(dropout=0.0)
    list(
        train(
            model,
            some_images(66),
            some_images(20, 9),
            options,
            case.get("augmentation", OFF),
            case.get("distillation"),
            group=group,
            make_step=case.get("make_step", choose_step),
        )
    )
    return model


TRAINER = """
import sys
import torch
from safetensors.torch import save_file
from armdigits.training.processes import join
from tests.training.test_processes import CASES, trained
assert not torch.distributed.is_initialized()
with join(torch.device("cpu")) as group:
    for number, case in enumerate(CASES):
        model = trained(case, group)
        save_file(dict(model.state_dict()), f"{sys.argv[1]}/{number}-{group.rank}.safetensors")
    print(torch.initial_seed())
"""


def test_a_single_process_never_initialises_torch_distributed():
    with join(torch.device("cpu")) as group:
        assert group is SINGLE
        trained(CASES[0], group)
        assert not torch.distributed.is_initialized()


@pytest.fixture(scope="module", params=[2, 3])
def weights(request, tmp_path_factory) -> tuple[Path, int]:
    """A folder with the weights of every case and rank, and the number of ranks."""
    folder = tmp_path_factory.mktemp("weights")
    results = ended(start_ranks([ROOT] * request.param, "-c", TRAINER, str(folder)))
    assert [code for code, *_ in results] == [0] * request.param, results
    assert len({seed for _, seed, _ in results}) == request.param, "each rank draws its own dropout"
    return folder, request.param


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)))
def test_several_ranks_train_the_model_of_one_process_up_to_rounding(weights, number):
    folder, count = weights
    expected, found = trained(CASES[number]), NeuralNetwork(dropout=0.0)
    for rank in range(count):
        found.load_state_dict(load_file(folder / f"{number}-{rank}.safetensors"))
        assert equal_up_to_rounding(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(CASES)))
def test_all_ranks_end_with_the_same_bits(weights, number):
    folder, count = weights
    first, *others = [load_file(folder / f"{number}-{rank}.safetensors") for rank in range(count)]
    assert all(torch.equal(other[name], tensor) for other in others for name, tensor in first.items())


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    return make_project(tmp_path_factory.mktemp("ranks") / "project")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda folder: set_parameters(folder, {"train.learning_rate": "0.002"}), "parameters"),
        pytest.param(lambda folder: write_data(folder, seed=2), "data", marks=pytest.mark.slow),
    ],
)
def test_a_rank_with_other_inputs_is_refused_by_rank_0_in_one_line(project, tmp_path, change, what):
    other = shutil.copytree(project, tmp_path / "other")
    change(other)
    (code, _, errors), (code_of_1, out_of_1, errors_of_1) = ended(start_ranks([project, other], "-m", "stages.train"))
    assert (code, errors) == (2, f"train: rank 1 differs from rank 0 in {what}; all ranks need the same\n")
    assert (code_of_1, out_of_1, errors_of_1) == (2, "", "")


def test_another_number_of_processes_than_in_params_yaml_is_refused(project):
    done = run_stage(project, "train")
    line = "params.yaml: train.processes: expected 1, the number of processes that were started, got 2"
    assert (done.returncode, done.stderr) == (2, f"train: {line}; run: dvc repro train\n")


IMPATIENT = """
from datetime import timedelta
from armdigits.core import stage
from armdigits.training import processes
from stages import train
processes.TIMEOUT = timedelta(seconds=1)
stage.run("train", train.main, [])
"""


@pytest.mark.parametrize("rank", ["", "1", "all"])
def test_without_torchrun_the_variables_of_a_cluster_mean_nothing(rank, monkeypatch):
    for variable in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(variable, rank)
    assert rank_of_this_process() is None
    assert world_size() == 1


def test_ranks_that_cannot_be_reached_are_reported_in_one_line(project):
    torchrun = {"TORCHELASTIC_RUN_ID": "none", "RANK": "1", "WORLD_SIZE": "2"}
    variables = {**torchrun, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    done = run(project, sys.executable, "-c", IMPATIENT, TORCH_CPP_LOG_LEVEL="FATAL", **variables)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    where = f"127.0.0.1:{variables['MASTER_PORT']}"
    assert line.startswith(f"train, rank 1: the other ranks cannot be reached at {where} (The client socket has timed")


@pytest.mark.slow
def test_a_rank_without_its_data_names_the_stage_to_run(project, tmp_path):
    other = shutil.copytree(project, tmp_path / "other")
    (other / paths.VALIDATION_DATA).unlink()
    code = IMPATIENT.replace("seconds=1", "seconds=5")
    _, (code_of_1, _, errors) = ended(start_ranks([project, other], "-c", code))
    line = "train, rank 1: data/validation.safetensors: no such file; run: dvc repro download\n"
    assert (code_of_1, errors) == (2, line)


def test_the_cpu_is_always_available():
    assert choose_device("cpu") == torch.device("cpu")


def test_auto_chooses_a_device_that_works():
    assert torch.ones(2, device=choose_device("auto")).sum() == 2


@pytest.mark.parametrize("name", ["cuda", "mps"])
def test_a_missing_device_is_reported_with_the_available_ones(name):
    if {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}[name]:
        pytest.skip(f"this machine has {name}")
    with pytest.raises(BadInput, match=f"compute.device: no {name} device on this machine; use .*cpu or auto"):
        choose_device(name)
