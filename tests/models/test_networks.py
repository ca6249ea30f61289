"""The registry of networks: all of them are built alike and can be trained, quantized and exported."""

import pytest
import torch
from torch import nn

from armdigits.core.errors import BadInput
from armdigits.core.shape import MNIST, Shape
from armdigits.models import networks
from armdigits.models.networks import NETWORKS, build, name_of, scale_first_layer
from armdigits.models.teacher import Teacher

CNN_PARAMETERS = 416 + 4_640 + 18_496 + 73_856 + 1_290


@pytest.mark.parametrize("classes", [2, 10, 100])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_an_output_for_each_class(name: str, classes: int) -> None:
    assert build(name, MNIST, classes)(torch.rand(3, 1, 28, 28)).shape == (3, classes)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 33, 65), (3, 224, 224)])
def test_every_network_and_the_teacher_take_images_of_any_shape(shape: Shape) -> None:
    images = torch.rand(2, *shape)
    for model in (*(build(name, shape, 7) for name in NETWORKS), Teacher(shape, 7)):
        assert model(images).shape == (2, 7)


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_load_with_and_without_dropout(name: str) -> None:
    with_dropout, without = build(name, MNIST, 10, dropout=0.5), build(name, MNIST, 10, use_dropout=False)
    without.load_state_dict(with_dropout.state_dict())
    pixels = torch.rand(3, 1, 28, 28)
    assert torch.equal(with_dropout.eval()(pixels), without.eval()(pixels))
    assert not torch.equal(with_dropout.train()(pixels), without.train()(pixels))
    assert name_of(without) == name


@pytest.mark.parametrize(("name", "layer"), [("mlp", "linear1"), ("cnn", "conv1")])
def test_scaling_the_first_layer_changes_its_weights_and_nothing_else(name: str, layer: str) -> None:
    model = build(name, MNIST, 10)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    scale_first_layer(model, 2.0)
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[key] * (2 if key == f"{layer}.weight" else 1))


def test_the_convolutional_network_is_small() -> None:
    assert sum(parameter.numel() for parameter in build("cnn", MNIST, 10).parameters()) == CNN_PARAMETERS == 98_698


def test_an_unknown_name_is_refused_with_the_names_that_there_are() -> None:
    with pytest.raises(BadInput, match=r"^params.yaml: model.name: expected one of mlp, cnn, got 'cnm'$"):
        build("cnm", MNIST, 10)


class AlwaysTen(nn.Sequential):
    def __init__(self, **_: object) -> None:
        super().__init__(nn.Flatten(), nn.Linear(784, 10))


def test_an_output_that_does_not_fit_the_classes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(networks.NETWORKS, "ten", AlwaysTen)
    with pytest.raises(BadInput, match=r"^model ten: expected an output \[N, 7\], got \[N, 10\]$"):
        build("ten", MNIST, 7)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (lambda **_: nn.Sequential(nn.Flatten(), nn.Softmax(1)), "model other: layer 1: Softmax is not supported"),
        (nn.Sequential, r"model other: .*unexpected keyword argument 'shape'"),
    ],
)
def test_what_is_wrong_with_a_network_is_said_with_its_name(
    network: type[nn.Module], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(networks.NETWORKS, "other", network)
    with pytest.raises(BadInput, match=f"^{message}"):
        build("other", MNIST, 10)
