import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.core.parameters import Model, load_parameters
from armdigits.core.shape import MNIST
from armdigits.models import networks
from armdigits.models.checkpoint import (
    read_checkpoint,
    read_teacher_logits,
    weights_sha256,
    write_checkpoint,
    write_tensors,
)
from armdigits.models.mlp import NeuralNetwork
from tests.helpers import PARAMETERS, some_images, write_some_data

RUN_TRAIN = "run: dvc repro --force train"


@pytest.fixture
def model(folder: Path) -> NeuralNetwork:
    """A model whose checkpoint is written."""
    write_some_data()
    torch.manual_seed(0)
    model = NeuralNetwork()
    write_checkpoint(paths.MODEL, model)
    return model


def rewrite(change: Callable[[dict[str, Tensor], dict[str, Any]], object]) -> None:
    """Write the checkpoint again after `change` of its weights and its record."""
    with safe_open(paths.MODEL, framework="pt") as file:
        record = json.loads(file.metadata()["record"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(weights, record)
    save_file(weights, paths.MODEL, {"record": json.dumps(record)})


def test_a_checkpoint_is_read_without_dropout_and_in_evaluation_mode(model: NeuralNetwork) -> None:
    read, digest = read_checkpoint(paths.MODEL)
    pixels = some_images(5).pixels()
    assert torch.equal(read(pixels), model.eval()(pixels))
    assert not read.training
    assert not read.use_dropout
    assert digest == weights_sha256(model.state_dict())


def test_equal_weights_give_equal_bytes(model: NeuralNetwork) -> None:
    before = paths.MODEL.read_bytes()
    assert write_checkpoint(paths.MODEL, model) == len(before)
    assert paths.MODEL.read_bytes() == before


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-100], lambda _: b"", lambda _: pickle.dumps({"a": 1})],
    ids=["cut", "empty", "pickle"],
)
def test_a_file_other_than_safetensors_is_refused(model: NeuralNetwork, damage: Callable[[bytes], bytes]) -> None:
    paths.MODEL.write_bytes(damage(paths.MODEL.read_bytes()))
    with pytest.raises(BadInput, match=f"^models/model.safetensors: not a safetensors checkpoint .*{RUN_TRAIN}$"):
        read_checkpoint(paths.MODEL)


def test_a_flipped_bit_is_refused(model: NeuralNetwork) -> None:
    content = bytearray(paths.MODEL.read_bytes())
    content[-1] ^= 1
    paths.MODEL.write_bytes(content)
    with pytest.raises(BadInput, match=f"expected weights of SHA-256 .* found .*{RUN_TRAIN}$"):
        read_checkpoint(paths.MODEL)


def test_a_missing_file_names_the_stage_to_run(folder: Path) -> None:
    with pytest.raises(BadInput, match=r"^models/model.safetensors: no such file; run: dvc repro train$"):
        read_checkpoint(paths.MODEL)


def test_a_checkpoint_trained_on_other_data_is_refused(model: NeuralNetwork) -> None:
    rewrite(lambda _, record: record.update(train_data_sha256="0"))
    with pytest.raises(BadInput, match="trained on different data than that in data/"):
        read_checkpoint(paths.MODEL)


def test_a_checkpoint_for_images_of_another_shape_is_refused(model: NeuralNetwork) -> None:
    rewrite(lambda _, record: record.update(shape=[3, 32, 32]))
    line = r"for images \[3, 32, 32\], but those in data/ are \[1, 28, 28\]"
    with pytest.raises(BadInput, match=f"^models/model.safetensors: {line}; {RUN_TRAIN}$"):
        read_checkpoint(paths.MODEL)


def test_a_checkpoint_trained_with_other_settings_is_refused(model: NeuralNetwork) -> None:
    settings = load_parameters(PARAMETERS).train
    write_checkpoint(paths.MODEL, model, settings)
    read_checkpoint(paths.MODEL, settings)
    with pytest.raises(BadInput, match="trained with different settings than those under train in params.yaml"):
        read_checkpoint(paths.MODEL, settings.model_copy(update={"seed": 2}))


def test_a_checkpoint_of_another_network_is_refused(model: NeuralNetwork) -> None:
    assert read_checkpoint(paths.MODEL, network=Model(name="mlp"))[0].state_dict().keys() == model.state_dict().keys()
    with pytest.raises(BadInput, match=f"made with another model.name than that in params.yaml; {RUN_TRAIN}$"):
        read_checkpoint(paths.MODEL, network=Model(name="cnn"))
    rewrite(lambda _, record: record.update(network="rnn"))
    with pytest.raises(BadInput, match=rf"^models/model.safetensors: of an unknown network \(rnn\); {RUN_TRAIN}$"):
        read_checkpoint(paths.MODEL)


def test_the_checkpoint_of_a_convolutional_network_is_read_as_one(folder: Path) -> None:
    write_some_data()
    model = networks.build("cnn", MNIST, 10)
    write_checkpoint(paths.MODEL, model)
    read, _ = read_checkpoint(paths.MODEL)
    pixels = some_images(5).pixels()
    assert torch.equal(read(pixels), model.eval()(pixels))


def test_a_record_without_the_checksum_of_the_weights_is_refused(model: NeuralNetwork) -> None:
    rewrite(lambda _, record: record.pop("weights_sha256"))
    with pytest.raises(BadInput, match="its record: has no entry weights_sha256"):
        read_checkpoint(paths.MODEL)


def test_of_a_long_reason_the_message_has_the_begin(model: NeuralNetwork) -> None:
    header = json.dumps({"a": "x" * 10_000}).encode()
    paths.MODEL.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(BadInput) as caught:
        read_checkpoint(paths.MODEL)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("record", ["[]", "{", '{"format": 1}', "[" * 100_000])
def test_a_malformed_record_is_refused(model: NeuralNetwork, record: str) -> None:
    save_file({"linear3.bias": torch.zeros(10, dtype=torch.bfloat16)}, paths.MODEL, {"record": record})
    with pytest.raises(BadInput, match=f"^models/model.safetensors: not a safetensors checkpoint .*{RUN_TRAIN}$"):
        read_checkpoint(paths.MODEL)


def test_a_safetensors_file_without_a_record_is_refused(model: NeuralNetwork) -> None:
    save_file(model.state_dict(), paths.MODEL)
    with pytest.raises(BadInput, match=f"^models/model.safetensors: not a safetensors checkpoint .*{RUN_TRAIN}$"):
        read_checkpoint(paths.MODEL)


def test_another_format_is_refused(model: NeuralNetwork) -> None:
    rewrite(lambda _, record: record.update(format=99))
    with pytest.raises(BadInput, match="its record: format: input should be 3"):
        read_checkpoint(paths.MODEL)


def test_weights_of_another_model_are_refused(model: NeuralNetwork) -> None:
    def change(weights: dict[str, Tensor], record: dict[str, Any]) -> None:
        weights["linear3.bias"] = torch.zeros(11)
        record["weights_sha256"] = weights_sha256(weights)

    rewrite(change)
    with pytest.raises(BadInput, match=r"not the weights of this model \(size mismatch for linear3.bias"):
        read_checkpoint(paths.MODEL)


def test_teacher_logits_are_read_as_written_and_a_checkpoint_is_refused_as_teacher_logits(model: NeuralNetwork) -> None:
    logits = torch.randn(60, 10)
    write_tensors(paths.TEACHER_LOGITS, {"teacher_logits": logits})
    assert torch.equal(read_teacher_logits(paths.TEACHER_LOGITS), logits)
    paths.TEACHER_LOGITS.write_bytes(paths.MODEL.read_bytes())
    with pytest.raises(BadInput, match=r"^models/teacher_logits.safetensors: not teacher logits; .*force teach$"):
        read_teacher_logits(paths.TEACHER_LOGITS)
