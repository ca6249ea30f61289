"""The benchmarks run to their end and print what they announce; what they measure is not judged."""

import json
import os
import re
import sys

import pytest

from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.core.parameters import Parameters, load_parameters
from benchmarks import ablation, projection, resume, scaling, training
from benchmarks.data import noise
from tests.helpers import PARAMETERS, ROOT, run, set_parameters

FEW_STEPS = """
from benchmarks import scaling
scaling.main({1: 3, 2: 3}, (1000,), 1)
"""


def test_noise_has_the_shape_of_digits_and_every_label():
    data = noise(20)
    assert data.images.shape == (20, 1, 28, 28)
    assert data.labels.tolist() == list(range(10)) * 2


@pytest.mark.parametrize("threads", [1, 2])
def test_each_row_of_the_ablation_makes_one_change_and_the_last_is_params_yaml(threads):
    final = load_parameters(PARAMETERS)
    final = final.model_copy(update={"train": final.train.model_copy(update={"threads": threads})})
    titles, recipes = zip(*ablation.recipes(final), strict=True)
    assert titles[0] == "tutorial's recipe"
    assert recipes[-1] == final
    assert recipes[0].train.schedule == "constant"
    assert not recipes[0].augmentation.is_on()
    assert recipes[-4].train.teacher_weight == 0
    assert recipes[-4].augmentation == final.augmentation


def test_each_trial_of_the_ablation_changes_one_parameter():
    final = load_parameters(PARAMETERS)
    values = flat(final)
    for _, parameters in ablation.trials(final):
        assert sum(value != values[key] for key, value in flat(parameters).items()) == 1


def flat(parameters: Parameters) -> dict[str, object]:
    content = parameters.model_dump()
    return {f"{section}.{key}": value for section, values in content.items() for key, value in values.items()}


@pytest.mark.slow
def test_the_ablation_has_a_row_per_change_and_one_for_the_int8_program(ran, capsys):
    set_parameters(ran, {"train.epochs": "1"})
    ablation.main(seeds=1)
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert rows[0] == "recipe"
    assert rows[2:] == [
        "tutorial's recipe",
        "+ one-cycle schedule",
        "+ dropout of 0",
        "+ augmentation that fades",
        "+ teacher's soft targets",
        "+ centred images",
        "+ first layer's initial weights times 2",
        "the last row as int8 program",
    ]


def test_the_benchmark_of_training_prints_each_ratio_and_how_cost_grows(ran, capsys, monkeypatch):
    monkeypatch.setattr(training, "TURNS", 1)
    monkeypatch.setattr(training, "QUICKSTART_IMAGES", 64)
    monkeypatch.setattr(training, "SIZES", {60: 1, 600: 1})
    training.main()
    out = capsys.readouterr().out
    names = [f"{loop} over quickstart's loop" for loop in ("step loop", "step loop, plain step", "recipe")]
    for name in (*names, "60 images, images/s"):
        assert re.search(rf"^{name} +[\d.,]+  \[[\d.,]+, [\d.,]+\]$", out, re.MULTILINE), name
    assert re.search(r"^slowest over fastest size: [01]\.\d\d$", out, re.MULTILINE)


def test_the_benchmark_of_resuming_ends_with_a_line_of_json_and_leaves_no_file(ran, capsys, monkeypatch):
    monkeypatch.setattr(resume, "IMAGES", 64)
    monkeypatch.setattr(resume, "EPOCHS", 3)
    resume.main()
    results = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert results["epochs"] == 3
    assert {"ratio", "low", "high"} == set(results["with_over_without"]) == set(results["control"])
    assert not list(ran.glob(".resume-*"))
    assert not (paths.LOCKS / resume.LOCK).exists()


@pytest.mark.slow
def test_the_benchmark_of_scaling_measures_two_processes_and_projects_more(tmp_path):
    (tmp_path / "few_steps.py").write_text(FEW_STEPS, "utf-8")
    launch = ("-m", "armdigits.training.launch", "--nproc-per-node", "2", "-m", "few_steps")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = run(tmp_path, sys.executable, *launch, PYTHONPATH=path)
    assert (done.returncode, done.stderr) == (0, "")
    measured, projected = done.stdout.split("Projected: ")
    assert re.search(r"^\| 0\.1 M \| 1,000 \| [\d,]+ \| [\d,]+ \| [\d.]+ \| \d+ % \|", measured, re.MULTILINE)
    ranks = [line.split(" | ")[1] for line in projected.splitlines() if line.startswith("| 0.")]
    assert ranks == ["8", "64", "512"] * 2


def test_scaling_with_one_process_prints_how_to_start_two():
    command = "python -m armdigits.training.launch --nproc-per-node 2 -m benchmarks.scaling"
    with pytest.raises(BadInput, match=f"^expected 2 processes; run: {command}$"):
        scaling.main()


def test_a_projected_step_costs_its_images_and_more_ranks_pay_for_the_link():
    """A step of 1 ms and 10 us per image, a gradient of 4 MB, 1 GB/s, 10 us per message."""
    row = projection.Row(1_000_000, 60_000, one=[1e-3 + 32e-5], one_large=[1e-3 + 128e-5])
    assert projection.compute_s(row, 1, 32, 128) == pytest.approx(6.12e-3)
    assert projection.compute_s(row, 8, 32, 128) == pytest.approx(1.64e-3)
    assert projection.all_reduce_s(row, 1, 1e9, 1e-5) == 0
    assert projection.all_reduce_s(row, 8, 1e9, 1e-5) == pytest.approx(7e-3 + 0.14e-3)
