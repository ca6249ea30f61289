import json
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from armdigits import paths
from armdigits.checkpoint import read_checkpoint, read_opinions, weights_sha256, write_checkpoint, write_tensors
from armdigits.errors import BadInput
from armdigits.model import NeuralNetwork
from armdigits.parameters import load_parameters
from tests.conftest import some_images, write_some_data

AGAIN = "run: dvc repro --force train"


@pytest.fixture
def network(folder):
    """A network whose checkpoint is written."""
    write_some_data()
    torch.manual_seed(0)
    network = NeuralNetwork()
    write_checkpoint(paths.MODEL, network)
    return network


def rewrite(change) -> None:
    """Write the checkpoint again with its weights and its record changed by hand."""
    with safe_open(paths.MODEL, framework="pt") as file:
        record = json.loads(file.metadata()["record"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(weights, record)
    save_file(weights, paths.MODEL, {"record": json.dumps(record)})


def test_the_network_comes_back_without_dropout_and_ready_to_infer(network):
    again, digest = read_checkpoint(paths.MODEL)
    images = some_images(5).pixels()
    assert torch.equal(again(images), network.eval()(images))
    assert not again.training
    assert digest == weights_sha256(network.state_dict())


def test_the_same_weights_give_the_same_bytes(network):
    before = paths.MODEL.read_bytes()
    assert write_checkpoint(paths.MODEL, network) == len(before)
    assert paths.MODEL.read_bytes() == before


@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda _: b"", lambda _: pickle.dumps({"a": 1})])
def test_what_is_no_safetensors_file_is_refused(network, damage):
    paths.MODEL.write_bytes(damage(paths.MODEL.read_bytes()))
    with pytest.raises(BadInput, match=f"^models/model.safetensors: not a safetensors checkpoint .*{AGAIN}$"):
        read_checkpoint(paths.MODEL)


def test_a_flipped_bit_is_refused(network):
    content = bytearray(paths.MODEL.read_bytes())
    content[-1] ^= 1
    paths.MODEL.write_bytes(content)
    with pytest.raises(BadInput, match=f"expected weights of SHA-256 .* found .*{AGAIN}$"):
        read_checkpoint(paths.MODEL)


def test_a_checkpoint_of_other_data_is_refused(network):
    rewrite(lambda _, record: record.update(train_data_sha256="0"))
    with pytest.raises(BadInput, match="trained on other data than data/ holds now"):
        read_checkpoint(paths.MODEL)


def test_a_checkpoint_of_other_settings_is_refused(ran):
    settings = load_parameters(paths.PARAMETERS).train
    read_checkpoint(paths.MODEL, settings)
    with pytest.raises(BadInput, match="trained with other settings than those under train in params.yaml"):
        read_checkpoint(paths.MODEL, settings.model_copy(update={"seed": 2}))


def test_a_record_without_its_entries_is_refused(network):
    rewrite(lambda _, record: record.pop("weights_sha256"))
    with pytest.raises(BadInput, match="expected weights of SHA-256 None"):
        read_checkpoint(paths.MODEL)


@pytest.mark.parametrize("record", ["[]", "{", '{"format": 1}'])
def test_a_record_that_is_none_is_refused(network, record):
    save_file({"layers.output.bias": torch.zeros(10, dtype=torch.bfloat16)}, paths.MODEL, {"record": record})
    with pytest.raises(BadInput, match=f"^models/model.safetensors: not a safetensors checkpoint .*{AGAIN}$"):
        read_checkpoint(paths.MODEL)


def test_another_format_is_refused(network):
    rewrite(lambda _, record: record.update(format=99))
    with pytest.raises(BadInput, match="expected checkpoint format 1, found 99"):
        read_checkpoint(paths.MODEL)


def test_weights_of_another_network_are_refused(network):
    def change(weights, record):
        weights["layers.output.bias"] = torch.zeros(11)
        record["weights_sha256"] = weights_sha256(weights)

    rewrite(change)
    with pytest.raises(BadInput, match="not the weights of this network .*size mismatch for layers.output.bias"):
        read_checkpoint(paths.MODEL)


def test_opinions_come_back_and_a_checkpoint_in_their_place_is_refused(network):
    opinions = torch.randn(60, 10)
    write_tensors(paths.OPINIONS, {"opinions": opinions})
    assert torch.equal(read_opinions(paths.OPINIONS), opinions)
    paths.OPINIONS.write_bytes(paths.MODEL.read_bytes())
    with pytest.raises(BadInput, match="^models/opinions.safetensors: not the opinions of a teacher; .*force teach$"):
        read_opinions(paths.OPINIONS)
