"""Each proof fails for the program that it is there to catch: contents with one change, and programs built wrongly."""

import copy
import dataclasses
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from armdigits.core.shape import MNIST
from armdigits.models.mlp import NeuralNetwork
from armdigits.program import build
from armdigits.program.contents import Activation, Constant, Contents, read_back
from armdigits.program.proofs import Proof, prove_fp32, prove_int8, prove_logits, table
from tests.helpers import some_images

BATCH = 64


def failed(proofs: Iterable[Proof]) -> set[str]:
    return {proof.name for proof in proofs if not proof.holds}


def test_the_pipelines_programs_pass_every_proof(
    fp32_contents: Contents, int8_contents: Contents, model: NeuralNetwork, calibration: Tensor
) -> None:
    assert failed(prove_fp32(fp32_contents, model, MNIST)) == set()
    assert failed(prove_int8(int8_contents, model, calibration)) == set()


def test_programs_built_from_other_weights_fail(
    fp32_contents: Contents, int8_contents: Contents, calibration: Tensor
) -> None:
    other = NeuralNetwork(use_dropout=False).eval()
    assert failed(prove_fp32(fp32_contents, other, MNIST)) == {"weights", "biases"}
    assert {"weights", "biases"} <= failed(prove_int8(int8_contents, other, calibration))


def test_each_program_fails_the_proofs_of_the_other(
    fp32_contents: Contents, int8_contents: Contents, model: NeuralNetwork, calibration: Tensor
) -> None:
    assert {"nodes", "weight_types"} <= failed(prove_fp32(int8_contents, model, MNIST))
    assert {"nodes", "weight_types", "input_scale"} <= failed(prove_int8(fp32_contents, model, calibration))


@pytest.mark.parametrize("change", [lambda logits: logits + 1e-6, lambda logits: logits[1:], np.negative])
def test_logits_with_other_bits_than_the_references_fail(change: Callable[[np.ndarray], np.ndarray]) -> None:
    logits = np.zeros((3, 10), np.float32)
    assert prove_logits(logits, logits.copy()).holds
    assert not prove_logits(change(logits).astype(np.float32), logits).holds


def test_a_program_without_layers_fails(int8_contents: Contents, model: NeuralNetwork, calibration: Tensor) -> None:
    empty = dataclasses.replace(int8_contents, layers=(), nodes=(), delegates=())
    assert {"delegates", "nodes", "layers", "weights", "biases"} <= failed(prove_int8(empty, model, calibration))
    assert {"delegates", "nodes", "layers", "weights", "biases"} <= failed(prove_fp32(empty, model, MNIST))


def with_last_layer(contents: Contents, **changes: object) -> Contents:
    *layers, last = contents.layers
    return dataclasses.replace(contents, layers=(*layers, dataclasses.replace(last, **changes)))


def with_weights_off_by_one(contents: Contents) -> Contents:
    weight = contents.layers[-1].weight
    stored = weight.stored.copy()
    stored[9, 255] += 1 if stored[9, 255] < 0 else -1
    return with_last_layer(contents, weight=Constant(stored, weight.scale))


def with_first_input(contents: Contents, activation: Activation) -> Contents:
    first, *layers = contents.layers
    return dataclasses.replace(contents, layers=(dataclasses.replace(first, input=activation), *layers))


@pytest.mark.parametrize(
    ("change", "proof"),
    [
        (lambda c: dataclasses.replace(c, delegates=c.delegates * 2), "delegates"),
        (lambda c: dataclasses.replace(c, operators=(*c.operators, "aten::relu.out")), "portable_operators"),
        (lambda c: dataclasses.replace(c, nodes=(*c.nodes, "XNNClamp")), "nodes"),
        (lambda c: with_last_layer(c, relu=True), "fused_relus"),
        (with_weights_off_by_one, "weights"),
        (lambda c: with_last_layer(c, bias=None), "biases"),
        (lambda c: with_first_input(c, Activation(np.float32(1 / 255), 0)), "input_scale"),
        (lambda c: with_last_layer(c, output=Activation(np.float32(1), 0)), "activation_scales"),
    ],
)
def test_one_change_of_the_int8_program_fails_its_proof_and_no_other(
    change: Callable[[Contents], Contents],
    proof: str,
    int8_contents: Contents,
    model: NeuralNetwork,
    calibration: Tensor,
) -> None:
    assert failed(prove_int8(change(int8_contents), model, calibration)) == {proof}


def test_the_table_has_a_line_of_at_most_80_columns_for_each_proof(
    int8_contents: Contents, model: NeuralNetwork, calibration: Tensor
) -> None:
    proofs = prove_int8(int8_contents, model, calibration)
    title, *lines = table("int8", [*proofs, Proof("another", False, "1", "2")]).splitlines()
    assert title == "int8"
    assert [line.split()[:2] for line in lines] == [
        *(["proven", proof.name] for proof in proofs),
        ["FAILED", "another"],
    ]
    assert max(map(len, lines)) <= 80


# Programs that are built wrongly


@pytest.fixture(scope="module")
def exported(model: NeuralNetwork) -> ExportedProgram:
    return build.trace(model, MNIST, BATCH)


def build_fp32(model: nn.Module) -> Contents:
    return read_back(build.lower(build.trace(model, MNIST, BATCH)), "fp32.pte")


def lower_int8(exported: ExportedProgram, calibration: Tensor) -> Contents:
    return read_back(build.lower(build.quantize(exported, calibration, BATCH)), "int8.pte")


def build_int8(model: nn.Module, calibration: Tensor) -> Contents:
    return lower_int8(build.trace(model, MNIST, BATCH), calibration)


def changed(model: NeuralNetwork, change: Callable[[NeuralNetwork], object]) -> NeuralNetwork:
    other = copy.deepcopy(model)
    change(other)
    return other


def zero_a_bias(model: NeuralNetwork) -> None:
    nn.init.zeros_(model.linear2.bias)


def drop_a_relu(model: NeuralNetwork) -> None:
    model.relu2 = nn.Identity()  # type: ignore[assignment]


def add_a_relu_without_a_linear_layer(model: NeuralNetwork) -> None:
    model.flatten = nn.Sequential(nn.Flatten(), nn.ReLU())  # type: ignore[assignment]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "proof"),
    [
        (zero_a_bias, "biases"),
        (drop_a_relu, "fused_relus"),
        (add_a_relu_without_a_linear_layer, "nodes"),
    ],
)
def test_an_fp32_program_of_a_changed_model_fails(
    change: Callable[[NeuralNetwork], object], proof: str, model: NeuralNetwork
) -> None:
    assert failed(prove_fp32(build_fp32(changed(model, change)), model, MNIST)) == {proof}


@pytest.mark.slow
@pytest.mark.parametrize(("change", "proof"), [(zero_a_bias, "biases"), (drop_a_relu, "fused_relus")])
def test_an_int8_program_of_a_changed_model_fails(
    change: Callable[[NeuralNetwork], object], proof: str, model: NeuralNetwork, calibration: Tensor
) -> None:
    assert proof in failed(prove_int8(build_int8(changed(model, change), calibration), model, calibration))


@pytest.mark.slow
def test_an_int8_program_without_a_bias_fails_unless_the_model_has_none(
    model: NeuralNetwork, calibration: Tensor
) -> None:
    without = changed(model, lambda other: other.linear3.register_parameter("bias", None))
    program = build_int8(without, calibration)
    assert "biases" in failed(prove_int8(program, model, calibration))
    assert failed(prove_int8(program, without, calibration)) == set()


def shrink_the_first_layer(model: NeuralNetwork) -> None:
    """Leave small weights and large biases, of some ten million steps."""
    with torch.no_grad():
        model.linear1.weight.mul_(0.02)
        model.linear1.bias.copy_(torch.linspace(0.2, 0.4, 96))


@pytest.mark.slow
def test_a_bias_of_many_steps_may_miss_its_integer_by_the_rounding_of_float32(
    model: NeuralNetwork, calibration: Tensor
) -> None:
    shrunk = changed(model, shrink_the_first_layer)
    program = build_int8(shrunk, calibration)
    assert failed(prove_int8(program, shrunk, calibration)) == set()
    shrunk.linear1.bias.data[0] *= 1 + 1e-5
    assert failed(prove_int8(program, shrunk, calibration)) == {"biases"}


@pytest.mark.slow
def test_programs_with_dropout_fail(model: NeuralNetwork, calibration: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    with_dropout = NeuralNetwork(use_dropout=True).train()
    with_dropout.load_state_dict(model.state_dict())
    monkeypatch.setattr(with_dropout, "eval", lambda: with_dropout)
    expected = {"delegates", "portable_operators"}
    assert expected <= failed(prove_fp32(build_fp32(with_dropout), model, MNIST))
    assert expected <= failed(prove_int8(build_int8(with_dropout, calibration), model, calibration))


@pytest.mark.slow
def test_an_int8_program_with_one_layer_left_in_fp32_fails(
    exported: ExportedProgram, model: NeuralNetwork, calibration: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with build.quiet():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer
    annotate = XNNPACKQuantizer.annotate

    def annotate_all_but_the_second_layer(self: XNNPACKQuantizer, graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
        for node in annotate(self, graph).graph.nodes:
            if node.name in ("linear_1", "relu_1"):
                del node.meta["quantization_annotation"]
        return graph

    monkeypatch.setattr(XNNPACKQuantizer, "annotate", annotate_all_but_the_second_layer)
    proofs = prove_int8(lower_int8(exported, calibration), model, calibration)
    assert {"nodes", "weight_types"} <= failed(proofs)
    assert next(str(proof) for proof in proofs if proof.name == "weight_types") == (
        "weight_types: expected 3 x int8, found int8, float32, int8"
    )


@pytest.mark.slow
def test_an_int8_program_calibrated_on_noise_fails(
    exported: ExportedProgram, model: NeuralNetwork, calibration: Tensor
) -> None:
    program = lower_int8(exported, some_images(200).pixels())
    assert failed(prove_int8(program, model, calibration)) == {"activation_scales"}


@pytest.mark.slow
def test_an_int8_program_calibrated_on_dim_images_fails(
    exported: ExportedProgram, model: NeuralNetwork, calibration: Tensor
) -> None:
    program = lower_int8(exported, calibration / 2)
    assert failed(prove_int8(program, model, calibration)) == {"input_scale", "activation_scales"}
