from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from armdigits.core import paths
from armdigits.models.checkpoint import write_checkpoint
from armdigits.models.mlp import NeuralNetwork
from tests.helpers import some_images, write_some_data


class TutorialNetwork(nn.Module):
    """The network of the tutorial, written from its description and not from ours."""

    def __init__(self, use_dropout: bool = True) -> None:
        super().__init__()
        self.use_dropout = use_dropout
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(28 * 28, 96)
        self.relu1 = nn.ReLU()
        self.dropout1 = nn.Dropout(0.2)
        self.linear2 = nn.Linear(96, 256)
        self.relu2 = nn.ReLU()
        self.dropout2 = nn.Dropout(0.2)
        self.linear3 = nn.Linear(256, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.flatten(x)
        x = self.linear1(x)
        x = self.relu1(x)
        if self.use_dropout:
            x = self.dropout1(x)
        x = self.linear2(x)
        x = self.relu2(x)
        if self.use_dropout:
            x = self.dropout2(x)
        logits: Tensor = self.linear3(x)
        return logits


def through_safetensors(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Save and load with safetensors."""
    save_file(weights, "weights.safetensors")
    return load_file("weights.safetensors")


def through_torch(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Save and load with torch."""
    torch.save(weights, "weights.pth")
    loaded: dict[str, Tensor] = torch.load("weights.pth", weights_only=True)
    return loaded


@pytest.mark.parametrize("use_dropout", [True, False])
@pytest.mark.parametrize("saved", [through_safetensors, through_torch])
def test_a_state_dict_of_the_tutorial_loads_here_and_gives_equal_logits(
    folder: Path, saved: Callable[[dict[str, Tensor]], dict[str, Tensor]], use_dropout: bool
) -> None:
    torch.manual_seed(0)
    theirs = TutorialNetwork().eval()
    ours = NeuralNetwork(use_dropout).eval()
    ours.load_state_dict(saved(theirs.state_dict()))
    pixels = some_images(20).pixels()
    assert torch.equal(ours(pixels), theirs(pixels))


@pytest.mark.parametrize("use_dropout", [True, False])
def test_a_checkpoint_of_ours_loads_in_the_tutorial_and_gives_equal_logits(folder: Path, use_dropout: bool) -> None:
    write_some_data()
    torch.manual_seed(0)
    ours = NeuralNetwork().eval()
    write_checkpoint(paths.MODEL, ours)
    theirs = TutorialNetwork(use_dropout).eval()
    theirs.load_state_dict(load_file(paths.MODEL))
    pixels = some_images(20).pixels()
    assert torch.equal(theirs(pixels), ours(pixels))


def test_the_children_have_the_tutorials_names_in_the_order_of_execution() -> None:
    expected = [name for name, _ in TutorialNetwork().named_children()]
    for use_dropout in (True, False):
        model = NeuralNetwork(use_dropout)
        assert model.use_dropout == use_dropout
        assert [name for name, _ in model.named_children()] == expected


def test_it_has_102762_parameters() -> None:
    assert sum(tensor.numel() for tensor in NeuralNetwork().parameters()) == 75_360 + 24_832 + 2_570 == 102_762


def test_it_returns_raw_logits() -> None:
    logits = NeuralNetwork()(torch.rand(3, 1, 28, 28))
    assert logits.shape == (3, 10)
    assert (logits < 0).any(), "a softmax would have no negative values"


@pytest.mark.parametrize(("use_dropout", "count"), [(True, 2), (False, 0)])
def test_identity_replaces_both_dropouts(use_dropout: bool, count: int) -> None:
    modules = list(NeuralNetwork(use_dropout, dropout=0.3).modules())
    assert sum(isinstance(module, nn.Dropout) for module in modules) == count
    assert sum(isinstance(module, nn.Identity) for module in modules) == 2 - count
    assert all(module.p == 0.3 for module in modules if isinstance(module, nn.Dropout))


def test_dropout_is_active_in_training_mode_only() -> None:
    model, pixels = NeuralNetwork(dropout=0.5), some_images(20).pixels()
    assert not torch.equal(model.train()(pixels), model(pixels))
    assert torch.equal(model.eval()(pixels), model(pixels))
