import copy
import re
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from armdigits.core.errors import BadInput, Failure
from armdigits.models.cnn import ConvolutionalNetwork
from armdigits.models.mlp import NeuralNetwork
from armdigits.models.teacher import Teacher
from armdigits.training import optimizer
from armdigits.training.fast_step import FastStep
from armdigits.training.loss import Distillation
from armdigits.training.split_step import SplitStep
from armdigits.training.step import PlainStep
from armdigits.training.step_choice import choose_step
from tests.helpers import some_images
from tests.training.test_loop import recipe

IMAGES = some_images(33)


@pytest.mark.parametrize("kind", [NeuralNetwork, Teacher])
def test_the_plain_step_equals_a_loop_with_autograd_and_torchs_adam(kind):
    torch.manual_seed(0)
    model = kind()
    usual = copy.deepcopy(model)
    step, optimizer = PlainStep(model), torch.optim.Adam(usual.parameters())
    for rate in (0.01, 0.003, 0.001):
        torch.manual_seed(1)  # of dropout
        step(IMAGES.pixels(), IMAGES.targets(), None, rate)
        torch.manual_seed(1)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        functional.cross_entropy(usual(IMAGES.pixels()), IMAGES.targets()).backward()
        optimizer.step()
        for parameter, expected in zip(model.parameters(), usual.parameters(), strict=True):
            torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-6)
            expected.data.copy_(parameter)  # rounding can switch a ReLU, whose gradients would differ from then on


@pytest.mark.parametrize(
    ("chosen", "usual"),
    [
        ({"optimizer": "adamw", "weight_decay": 0.1}, partial(torch.optim.AdamW, weight_decay=0.1)),
        (
            {"optimizer": "sgd", "weight_decay": 0.1, "momentum": 0.9},
            partial(torch.optim.SGD, weight_decay=0.1, momentum=0.9),
        ),
    ],
)
def test_the_optimizer_is_the_one_in_the_recipe(chosen, usual):
    model = ConvolutionalNetwork(dropout=0.0)
    expected = copy.deepcopy(model)
    step, optimizer = PlainStep(model, recipe=recipe(**chosen)), usual(expected.parameters(), lr=0.01)
    for _ in range(2):
        step(IMAGES.pixels(), IMAGES.targets(), None, 0.01)
        optimizer.zero_grad()
        functional.cross_entropy(expected(IMAGES.pixels()), IMAGES.targets()).backward()
        optimizer.step()
    for parameter, other in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(parameter, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("images", [2, 33])
def test_the_split_step_equals_the_plain_step_without_batch_normalization(threads, images):
    torch.manual_seed(0)
    model = ConvolutionalNetwork(dropout=0.0)
    usual = copy.deepcopy(model)
    batch = IMAGES.pixels()[:images], IMAGES.targets()[:images], torch.randn(images, 10)
    distillation = Distillation(batch[2], weight=0.9, temperature=3.0)
    split, plain = SplitStep(model, distillation, threads=threads), PlainStep(usual, distillation)
    for rate in (0.003, 0.001):
        torch.testing.assert_close(split(*batch, rate), plain(*batch, rate), rtol=0, atol=1e-4)
        for parameter, expected in zip(model.parameters(), usual.parameters(), strict=True):
            torch.testing.assert_close(parameter.grad, expected.grad, rtol=0, atol=1e-5)
            near = (parameter - expected).abs() < rate / 10
            assert near.float().mean() > 0.95, "Adam magnifies the rounding of gradients near 0 only"
            parameter.data.copy_(expected)  # the next gradients are compared at equal weights


def test_a_network_with_dropout_is_not_split():
    with pytest.raises(BadInput, match=r"threads of train or teach: expected 1 with dropout, got 2$"):
        SplitStep(NeuralNetwork(dropout=0.2))


def test_the_split_step_gives_the_same_bits_each_time():
    models = []
    for _ in range(3):
        torch.manual_seed(0)
        model = Teacher()
        step = SplitStep(model, threads=2)
        for _ in range(5):
            step(IMAGES.pixels(), IMAGES.targets(), None, 0.001)
        models.append(model.state_dict())
    assert all(torch.equal(tensor, other[name]) for other in models[1:] for name, tensor in models[0].items())


@pytest.mark.parametrize("make_step", [PlainStep, FastStep, SplitStep])
def test_a_step_returns_the_logits_from_before_the_update(make_step):
    model = NeuralNetwork(dropout=0.0)
    expected = model(IMAGES.pixels()).detach()
    logits = make_step(model)(IMAGES.pixels(), IMAGES.targets(), None, 0.01)
    assert not logits.requires_grad
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize("make_step", [PlainStep, FastStep, SplitStep])
def test_a_step_continues_from_restored_state(make_step):
    torch.manual_seed(0)
    one, other = NeuralNetwork(dropout=0.0), NeuralNetwork(dropout=0.0)
    first, second = make_step(one), make_step(other)
    first(IMAGES.pixels(), IMAGES.targets(), None, 0.01)
    other.load_state_dict(one.state_dict())
    second.resume(first.state())
    for step in (first, second):
        step(IMAGES.pixels(), IMAGES.targets(), None, 0.01)
    assert all(map(torch.equal, one.parameters(), other.parameters()))


OPTIMIZERS = (
    {"optimizer": "adamw", "weight_decay": 0.1},
    {"optimizer": "sgd"},
    {"optimizer": "sgd", "momentum": 0.9},
    torch.optim.Adagrad,
    torch.optim.NAdam,
    torch.optim.RMSprop,
    torch.optim.Rprop,
)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_step_of_any_optimizer_continues_from_its_state(monkeypatch, kind):
    settings = recipe(**kind) if isinstance(kind, dict) else None
    if not settings:
        monkeypatch.setattr(optimizer, "Adam", lambda parameters, **_: kind(parameters))
    one = Teacher()
    one.unused = nn.Linear(1, 1)  # it gets no gradient, and so no state
    first = PlainStep(one, recipe=settings)
    fresh = {name: tensor.shape for name, tensor in first.state().items()}
    first(IMAGES.pixels(), IMAGES.targets(), None, 0.01)
    assert {name: tensor.shape for name, tensor in first.state().items()} == fresh
    other = copy.deepcopy(one)
    second = PlainStep(other, recipe=settings)
    second.resume(first.state())
    for step in (first, second):
        step(IMAGES.pixels(), IMAGES.targets(), None, 0.01)
    assert all(map(torch.equal, one.parameters(), other.parameters()))


class Counting(torch.optim.SGD):
    def step(self) -> None:
        self.param_groups[0]["steps"] = self.param_groups[0].get("steps", 0) + 1


class Listing(torch.optim.SGD):
    def step(self) -> None:
        self.state[self.param_groups[0]["params"][0]]["norms"] = [1.0]


class Late(torch.optim.SGD):
    def step(self) -> None:
        kept = self.state[self.param_groups[0]["params"][0]]
        kept["late" if kept else "early"] = torch.zeros(())


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (torch.optim.LBFGS, "missing 1 required positional argument: 'closure'"),
        (torch.optim.SparseAdam, "does not support dense gradients"),
        (Counting, "its steps change its options"),
        (Listing, "it keeps norms (list), which is no tensor"),
        (Late, "it makes optimizer.0.late after its first step"),
    ],
)
def test_an_optimizer_that_cannot_be_resumed_is_refused_in_one_line(monkeypatch, kind, reason):
    monkeypatch.setattr(optimizer, "Adam", lambda parameters, **_: kind(parameters))
    line = f"^armdigits/training/optimizer.py: {kind.__name__} cannot be used: [^\n]*{re.escape(reason)}"
    with pytest.raises(Failure, match=line):
        two_steps_and_a_snapshot()


def two_steps_and_a_snapshot() -> None:
    step = PlainStep(Teacher())
    for _ in range(2):
        step(IMAGES.pixels(), IMAGES.targets(), None, 0.01)
    step.state()


class Wider(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 300), nn.ReLU(), nn.Dropout(0.1), nn.Linear(300, 10))


def changed(name: str, layer: nn.Module) -> NeuralNetwork:
    """The model with one layer replaced."""
    model = NeuralNetwork()
    setattr(model, name, layer)
    return model


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        (NeuralNetwork(), FastStep),
        (NeuralNetwork(use_dropout=False), FastStep),
        (Wider(), FastStep),
        (Teacher(), PlainStep),
        (changed("dropout1", nn.BatchNorm1d(96)), PlainStep),
        (changed("dropout1", nn.Dropout(0.5)), PlainStep),  # two different rates
        (changed("linear2", nn.Linear(96, 256, bias=False)), PlainStep),
        (changed("linear2", nn.Linear(96, 256).requires_grad_(False)), PlainStep),
        (changed("relu2", nn.Tanh()), PlainStep),
    ],
)
def test_only_a_perceptron_with_one_dropout_rate_gets_the_fast_step(capsys, model, kind):
    assert type(choose_step(model)) is kind
    assert capsys.readouterr().out == ""


def test_a_perceptron_trained_with_another_optimizer_gets_the_plain_step_and_a_line(capsys):
    assert type(choose_step(NeuralNetwork(), recipe=recipe(optimizer="sgd"))) is PlainStep
    assert capsys.readouterr().out == "fast_step.py is for Adam: training with the plain step\n"


@pytest.mark.parametrize("model", [NeuralNetwork(dropout=0.0), Teacher()])
def test_several_threads_on_the_cpu_get_the_split_step(model):
    assert type(choose_step(model, recipe=recipe(threads=2))) is SplitStep
