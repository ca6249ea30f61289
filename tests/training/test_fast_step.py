import copy
import re

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from armdigits.models.mlp import NeuralNetwork
from armdigits.training import fast_step, optimizer, step
from armdigits.training.fast_step import FastStep, FlatAdam
from armdigits.training.loss import Distillation
from armdigits.training.step import PlainStep
from armdigits.training.step_choice import choose_step
from tests.helpers import some_images

IMAGES = some_images(33)
TEACHER = 3 * torch.randn(33, 10, generator=torch.Generator().manual_seed(5))
DISTILLATION = Distillation(TEACHER, weight=0.9, temperature=3.0)
REMEDY = (
    "fast_step.py differs from the plain step: bring FastStep._gradient_at_logits in line with loss.py and FlatAdam "
    "with the optimizer in step.py, or delete fast_step.py and its lines in step_choice.py (until then, training does)"
)


@pytest.mark.parametrize("distillation", [None, DISTILLATION])
@pytest.mark.parametrize("dropout", [0.0, 0.2, 0.7])
def test_the_fast_step_equals_the_plain_step(distillation, dropout):
    """With the same random numbers, both drop the same activations."""
    torch.manual_seed(3)
    model = NeuralNetwork(dropout=dropout)
    plain_model = copy.deepcopy(model)
    fast, plain = FastStep(model, distillation), PlainStep(plain_model, distillation)
    for number in range(5):
        logits = []
        for each in (fast, plain):
            torch.manual_seed(number)
            teacher_logits = TEACHER if distillation else None
            logits.append(each(IMAGES.pixels(), IMAGES.targets(), teacher_logits, 0.001))
        torch.testing.assert_close(*logits, rtol=0, atol=1e-4, msg=REMEDY)
    assert fast_step.difference_to_plain_step(model, distillation) < fast_step.TOLERANCE, REMEDY


@pytest.mark.parametrize("classes", [2, 3, 100])
def test_the_fast_step_equals_the_plain_step_with_any_number_of_classes(classes):
    model = NeuralNetwork(dropout=0.2)
    model.linear3 = nn.Linear(256, classes)
    assert fast_step.difference_to_plain_step(model, DISTILLATION) < fast_step.TOLERANCE, REMEDY


def smoothed(logits: Tensor, labels: Tensor, *_: object) -> Tensor:
    """A loss that somebody might try."""
    return functional.cross_entropy(logits, labels, label_smoothing=0.1)


ADAM = torch.optim.Adam


def with_weight_decay(*arguments: object, **options: object) -> torch.optim.Optimizer:
    """An optimizer that somebody might try."""
    return torch.optim.AdamW(*arguments, weight_decay=0.01, **options)


def with_another_beta(*arguments: object, **options: object) -> torch.optim.Optimizer:
    """Another one, whose first step is the same."""
    return ADAM(*arguments, betas=(0.9, 0.99), **options)


@pytest.mark.parametrize(
    ("module", "name", "change"),
    [(step, "loss", smoothed), (optimizer, "Adam", with_weight_decay), (optimizer, "Adam", with_another_beta)],
)
def test_after_a_change_of_loss_or_optimizer_the_plain_step_is_used_and_a_line_is_printed(
    monkeypatch, capsys, module, name, change
):
    monkeypatch.setattr(module, name, change)
    model = NeuralNetwork(dropout=0.0)
    chosen = choose_step(model)
    assert type(chosen) is PlainStep
    assert re.fullmatch(
        r"fast_step.py differs from the plain step by \d+\.\d%: training with the plain step\n", capsys.readouterr().out
    )
    expected = copy.deepcopy(model)
    usual = (
        change(expected.parameters(), lr=0.01) if name == "Adam" else torch.optim.Adam(expected.parameters(), lr=0.01)
    )
    (smoothed if name == "loss" else functional.cross_entropy)(expected(IMAGES.pixels()), IMAGES.targets()).backward()
    usual.step()
    chosen(IMAGES.pixels(), IMAGES.targets(), None, 0.01)
    for parameter, other in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=0, atol=1e-5)


def test_choosing_a_step_draws_no_random_number():
    model = NeuralNetwork()
    state = torch.get_rng_state()
    choose_step(model, DISTILLATION)
    assert torch.equal(torch.get_rng_state(), state)


def test_flattening_keeps_the_parameters_and_makes_them_views_of_one_tensor():
    model = NeuralNetwork()
    before = copy.deepcopy(model.state_dict())
    optimizer = FlatAdam(model)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert len({parameter.untyped_storage().data_ptr() for parameter in model.parameters()}) == 1
    optimizer.gradient.fill_(3)
    assert all((parameter.grad == 3).all() for parameter in model.parameters())


def test_flat_adam_takes_the_steps_of_torchs_adam():
    torch.manual_seed(0)
    model = NeuralNetwork()
    other = copy.deepcopy(model)
    flat, torchs = FlatAdam(model), torch.optim.Adam(other.parameters())
    for rate in (0.01, 0.003, 0.001):
        flat.gradient.normal_()
        torchs.param_groups[0]["lr"] = rate
        for parameter, expected in zip(model.parameters(), other.parameters(), strict=True):
            expected.grad = parameter.grad.clone()
        flat.step(rate)
        torchs.step()
    for parameter, expected in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-6)
