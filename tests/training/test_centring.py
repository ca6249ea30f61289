import pytest
import torch
from torch import nn

from armdigits.models.mlp import NeuralNetwork
from armdigits.models.teacher import Teacher
from armdigits.training.centring import can_be_centred, centred_inputs, mean_image
from tests.helpers import some_images


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 20, 12)])
def test_the_mean_image_is_the_mean_of_the_pixels(shape):
    images = torch.randint(256, (1100, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(mean_image(images), (images / 255).mean(0))


def test_centred_images_get_the_logits_that_plain_images_get_outside():
    torch.manual_seed(1)
    model, images = NeuralNetwork(use_dropout=False), some_images(20)
    pixels, mean = images.pixels(), mean_image(images.images)
    expected = model(pixels)
    with centred_inputs(model, mean):
        torch.testing.assert_close(model(pixels - mean), expected, rtol=0, atol=1e-6)
        assert not torch.allclose(model(pixels), expected, atol=1e-3)
    torch.testing.assert_close(model(pixels), expected, rtol=0, atol=1e-6)


def test_without_a_mean_image_nothing_changes():
    model = NeuralNetwork()
    before = model.linear1.bias.clone()
    with centred_inputs(model, None):
        assert torch.equal(model.linear1.bias, before)


@pytest.mark.parametrize("model", [Teacher(), nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=False))])
def test_a_model_without_a_first_bias_that_could_make_up_for_the_mean_image_is_left_as_it_is(model):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert not can_be_centred(model)
    with centred_inputs(model, torch.ones(1, 28, 28)):
        assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
