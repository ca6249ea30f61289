import torch
from torch.nn import functional

from armdigits.model import NeuralNetwork
from armdigits.parameters import Train
from armdigits.scoring import accuracy, cross_entropy, logits_of
from armdigits.training import train
from tests.conftest import some_images


def settings(**changes) -> Train:
    values = {"epochs": 2, "batch_size": 32, "learning_rate": 0.001, "dropout": 0.2, "seed": 1, "threads": 1}
    return Train(**{**values, **changes})


def trained(**changes) -> tuple[NeuralNetwork, list]:
    options = settings(**changes)
    torch.manual_seed(options.seed)
    network = NeuralNetwork(dropout=options.dropout)
    return network, list(train(network, some_images(70), some_images(20, 9), options))


def same(one: NeuralNetwork, other: NeuralNetwork) -> bool:
    return all(map(torch.equal, one.parameters(), other.parameters()))


def test_the_same_seed_gives_the_same_bits():
    (one, curve), (other, again) = trained(), trained()
    assert same(one, other)
    assert curve == again


def test_another_seed_gives_another_network():
    assert not same(trained()[0], trained(seed=2)[0])


def test_dropout_is_on_in_training_and_off_in_validation():
    network, curve = trained(dropout=0.5)
    assert not same(network, trained(dropout=0.0)[0])
    images = some_images(20, 9)
    logits = logits_of(network, images.pixels())
    assert curve[-1].validation_loss == cross_entropy(logits, images.targets())
    assert curve[-1].validation_accuracy == accuracy(logits, images.targets())


def test_every_image_counts_once_in_an_epoch_the_last_batch_too():
    """With a learning rate of nearly 0 the epoch's loss is that of the untrained network on all images."""
    options = settings(epochs=1, batch_size=32, learning_rate=1e-30, dropout=0.0)
    network = NeuralNetwork(dropout=0.0)
    images = some_images(70)  # two whole batches and one of 6
    expected = functional.cross_entropy(network(images.pixels()), images.targets()).item()
    (epoch,) = train(network, images, some_images(20), options)
    assert abs(epoch.train_loss - expected) < 1e-6


def test_one_step_is_adams():
    """One batch, one epoch: Adam moves every weight that has a gradient by the learning rate (Kingma and Ba, 2015)."""
    options = settings(epochs=1, batch_size=70, learning_rate=0.01, dropout=0.0)
    network = NeuralNetwork(dropout=0.0)
    before = [tensor.clone() for tensor in network.parameters()]
    list(train(network, some_images(70), some_images(20), options))
    moves = torch.cat([(new - old).abs().flatten() for new, old in zip(network.parameters(), before, strict=True)])
    assert 0.0099 < moves.max() < 0.0101


def test_scoring_leaves_the_mode_of_the_network_alone():
    network = NeuralNetwork().train()
    images = some_images(5).pixels()
    first, second = logits_of(network, images), logits_of(network, images)
    assert torch.equal(first, second), "no dropout while scoring"
    assert network.training
