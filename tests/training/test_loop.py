import math

import pytest
import torch
from torch.nn import functional

from armdigits.core.errors import Failure
from armdigits.core.parameters import Augmentation, Train
from armdigits.core.records import Epoch
from armdigits.models.mlp import NeuralNetwork
from armdigits.models.scoring import accuracy, cross_entropy, model_logits
from armdigits.training import batches
from armdigits.training.batches import ORDER, chunks_of_epoch, epoch_seed
from armdigits.training.centring import mean_image
from armdigits.training.loop import learning_rate, train
from armdigits.training.loss import Distillation
from armdigits.training.split_step import SplitStep
from armdigits.training.step import PlainStep
from armdigits.training.step_choice import choose_step
from tests.helpers import some_images

OFF = Augmentation(rotation=0, zoom=0, shear=0, shift=0, stroke=0, flip=0, fade=0)
MILD = Augmentation(rotation=10, zoom=0.1, shear=0.1, shift=1, stroke=0.5, flip=0, fade=0.2)


def recipe(**changes) -> Train:
    values = {
        "epochs": 2, "batch_size": 32, "optimizer": "adam", "weight_decay": 0, "momentum": 0, "learning_rate": 0.001,
        "schedule": "constant", "warm_up": 0,
        "centre": False, "first_layer_scale": 1.0, "dropout": 0.2, "teacher_weight": 0, "temperature": 1, "seed": 1,
        "threads": 1, "processes": 1,
    }  # fmt: skip
    return Train(**{**values, **changes})


def trained(
    augmentation: Augmentation = OFF, distillation: Distillation | None = None, make_step=choose_step, **changes
) -> tuple[NeuralNetwork, list[Epoch]]:
    """A model trained on 70 images of noise, and its history."""
    options = recipe(**changes)
    torch.manual_seed(options.seed)
    model = NeuralNetwork(dropout=options.dropout)
    data = some_images(70), some_images(20, 9)
    return model, list(train(model, *data, options, augmentation, distillation, make_step=make_step))


def some_distillation(weight: float = 0.9, temperature: float = 3.0) -> Distillation:
    """Random teacher's logits for the 70 images."""
    return Distillation(3 * torch.randn(70, 10, generator=torch.Generator().manual_seed(5)), weight, temperature)


def equal_up_to_rounding(one: NeuralNetwork, other: NeuralNetwork) -> bool:
    """After a few steps of 1e-3. Adam magnifies the rounding of gradients near 0, on Arm for 3 % of the weights."""
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    differences = torch.cat([(a.detach() - b.detach()).abs().flatten() for a, b in pairs])
    return bool(differences.quantile(0.95) < 3e-5 and differences.max() < 1e-3)


def equal(one: NeuralNetwork, other: NeuralNetwork) -> bool:
    return all(map(torch.equal, one.parameters(), other.parameters()))


@pytest.mark.parametrize("augmentation", [OFF, MILD])
def test_the_same_seed_gives_the_same_bits(augmentation):
    (one, history), (other, again) = (
        trained(augmentation, some_distillation()),
        trained(augmentation, some_distillation()),
    )
    assert equal(one, other)
    assert history == again


def test_another_seed_gives_other_weights():
    assert not equal(trained()[0], trained(seed=2)[0])


def test_every_seed_epoch_and_stream_gives_a_different_generator_seed():
    assert len({epoch_seed(seed, epoch, stream) for seed in range(9) for epoch in range(9) for stream in (0, 1)}) == 162


def test_dropout_is_on_in_training_and_off_in_validation():
    model, history = trained(dropout=0.5)
    assert not equal(model, trained(dropout=0.0)[0])
    images = some_images(20, 9)
    logits = model_logits(model, images.pixels())
    assert history[-1].validation_loss == cross_entropy(logits, images.targets())
    assert history[-1].validation_accuracy == accuracy(logits, images.targets())


@pytest.mark.parametrize("batch_size", [32, 70, 1])
def test_the_loss_of_an_epoch_is_the_mean_over_every_image_once(batch_size):
    """With a learning rate of nearly 0 the epoch's loss is that of the untrained model on all images."""
    options = recipe(epochs=1, batch_size=batch_size, learning_rate=1e-30, dropout=0.0)
    model = NeuralNetwork(dropout=0.0)
    images = some_images(70)
    expected = functional.cross_entropy(model(images.pixels()), images.targets()).item()
    (epoch,) = train(model, images, some_images(20), options, OFF)
    assert abs(epoch.train_loss - expected) < 1e-6


def test_the_size_of_the_chunks_does_not_change_the_result(monkeypatch):
    model, history = trained()
    monkeypatch.setattr(batches, "CHUNK_STEPS", 2)
    other, again = trained()
    assert equal(model, other)
    assert [row.validation_loss for row in history] == [row.validation_loss for row in again]


def test_training_equals_a_plain_loop_with_autograd_and_torchs_adam():
    images = some_images(70)
    torch.manual_seed(1)
    plain = NeuralNetwork(dropout=0.0)
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.001)
    for epoch in (1, 2):
        order = torch.randperm(70, generator=torch.Generator().manual_seed(epoch_seed(1, epoch, ORDER)))
        for rows in order.split(32):  # the last has 6
            optimizer.zero_grad()
            functional.cross_entropy(plain(images.pixels()[rows]), images.targets()[rows]).backward()
            optimizer.step()
    for kind in ({"make_step": choose_step}, {"make_step": PlainStep}, {"threads": 2}):
        model, _ = trained(dropout=0.0, **kind)
        assert equal_up_to_rounding(model, plain)


def test_centred_training_equals_a_plain_loop_on_images_minus_their_mean():
    images = some_images(70)
    mean = mean_image(images.images)
    torch.manual_seed(1)
    plain = NeuralNetwork(dropout=0.0)
    optimizer = torch.optim.Adam(plain.parameters(), lr=0.001)
    plain.linear1.bias.data += plain.linear1.weight.detach() @ mean.flatten()
    for rows in torch.randperm(70, generator=torch.Generator().manual_seed(epoch_seed(1, 1, ORDER))).split(32):
        optimizer.zero_grad()
        functional.cross_entropy(plain(images.pixels()[rows] - mean), images.targets()[rows]).backward()
        optimizer.step()
    plain.linear1.bias.data -= plain.linear1.weight.detach() @ mean.flatten()
    for kind in ({"make_step": choose_step}, {"make_step": PlainStep}, {"threads": 2}):
        model, _ = trained(epochs=1, centre=True, dropout=0.0, **kind)
        assert equal_up_to_rounding(model, plain)
    assert not equal_up_to_rounding(trained(epochs=1, centre=False, dropout=0.0)[0], plain)


def test_with_several_threads_the_step_is_split():
    one, two, split = (trained(dropout=0.0, **kind)[0] for kind in ({}, {"threads": 2}, {"make_step": SplitStep}))
    assert equal(two, split)
    assert not equal(two, one)


def test_the_augmentation_of_an_epoch_fades():
    images, options = some_images(70), recipe(epochs=2)
    fading = MILD.model_copy(update={"stroke": 0.0, "fade": 1.0})
    first, last = (
        [next(chunks_of_epoch(images, None, options, ranges, epoch)).images for ranges in (fading, OFF)]
        for epoch in (1, 2)
    )
    assert not torch.allclose(*first, atol=0.1)
    torch.testing.assert_close(*last, rtol=0, atol=1e-4)


def test_the_first_step_moves_weights_by_the_learning_rate():
    """Adam's first step moves a weight with a clear gradient by the learning rate (Kingma and Ba, 2015)."""
    options = recipe(epochs=1, batch_size=70, learning_rate=0.01, dropout=0.0)
    model = NeuralNetwork(dropout=0.0)
    before = [tensor.clone() for tensor in model.parameters()]
    list(train(model, some_images(70), some_images(20), options, OFF))
    moves = torch.cat([(new - old).abs().flatten() for new, old in zip(model.parameters(), before, strict=True)])
    assert 0.0099 < moves.max() < 0.0101


def test_the_teachers_logits_are_shuffled_with_their_images():
    """A teacher that is certain of every label has the same effect as the labels."""
    certain = 100 * functional.one_hot(some_images(70).targets(), 10).float()
    model, _ = trained(distillation=Distillation(certain, 1.0, 1.0), dropout=0.0)
    expected, _ = trained(dropout=0.0)
    for one, other in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_the_one_cycle_schedule_rises_to_the_peak_and_falls_to_zero():
    options = recipe(schedule="one_cycle", warm_up=0.2, learning_rate=0.003)
    rates = [learning_rate(options, progress) for progress in (0, 0.1, 0.2, 0.6, 1)]
    assert rates == pytest.approx([0.00012, 0.00156, 0.003, 0.0015, 0], abs=1e-12)
    assert learning_rate(recipe(schedule="one_cycle", warm_up=0), 0) == 0.001


def test_a_constant_rate_is_constant():
    assert {learning_rate(recipe(), progress) for progress in (0, 0.3, 1)} == {0.001}


def test_a_loss_that_is_not_finite_ends_the_training_and_names_epoch_and_step():
    model = NeuralNetwork(dropout=0.0)
    with torch.no_grad():
        model.linear3.bias[3] = math.inf
    with pytest.raises(Failure, match=r"not finite in epoch 1, step 1; lower learning_rate \(0.001\)"):
        list(train(model, some_images(70), some_images(20), recipe(), OFF))
