import copy
import dataclasses
import json
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.export import ExportedProgram

from armdigits import paths, programs
from armdigits.dataset import Split
from armdigits.errors import BadInput, GateFailed
from armdigits.inspection import Contents, read_back
from armdigits.model import NeuralNetwork
from armdigits.parameters import load_parameters
from armdigits.proofs import Proof, prove_fp32, prove_int8
from stages import quantize
from tests.conftest import some_images

BATCH = 64


def loaded(weights: dict[str, Tensor], use_dropout: bool = False) -> NeuralNetwork:
    network = NeuralNetwork(use_dropout)
    network.load_state_dict(weights)
    return network.eval()


@pytest.fixture(scope="module")
def network(pipeline) -> NeuralNetwork:
    return loaded(load_file(pipeline / paths.MODEL))


@pytest.fixture(scope="module")
def exported(network) -> ExportedProgram:
    return programs.export(network, BATCH)


@pytest.fixture(scope="module")
def calibration(pipeline) -> Tensor:
    return Split(**load_file(pipeline / paths.TRAIN_DATA)).pixels()[:1000]


@pytest.fixture(scope="module")
def fp32(pipeline) -> Contents:
    return read_back((pipeline / paths.FP32_PROGRAM).read_bytes(), "fp32.pte")


@pytest.fixture(scope="module")
def int8(pipeline) -> Contents:
    return read_back((pipeline / paths.INT8_PROGRAM).read_bytes(), "int8.pte")


def lower_int8(exported: ExportedProgram, calibration: Tensor) -> bytes:
    return programs.lower(programs.quantize(exported, calibration, BATCH))


@pytest.fixture(scope="module")
def noisy(exported) -> bytes:
    """The int8 program of the network, calibrated on noise."""
    return lower_int8(exported, some_images(200).pixels())


def build_fp32(network: nn.Module) -> Contents:
    return read_back(programs.lower(programs.export(network, BATCH)), "fp32.pte")


def build_int8(network: nn.Module, calibration: Tensor) -> Contents:
    return read_back(lower_int8(programs.export(network, BATCH), calibration), "int8.pte")


def failed(proofs: list[Proof]) -> set[str]:
    return {proof.name for proof in proofs if not proof.holds}


def changed(network: NeuralNetwork, change: Callable[[nn.Sequential], None]) -> NeuralNetwork:
    other = copy.deepcopy(network)
    change(other.layers)
    return other


def test_the_pipelines_programs_pass_every_proof(fp32, int8, network, calibration):
    assert failed(prove_fp32(fp32, network)) == set()
    assert failed(prove_int8(int8, network, calibration)) == set()


def test_dropout_that_is_kept_is_found(network, calibration, monkeypatch):
    live = loaded(network.state_dict(), use_dropout=True).train()
    monkeypatch.setattr(live, "eval", lambda: live)
    assert {"delegates", "portable_operators"} <= failed(prove_fp32(build_fp32(live), network))
    assert {"delegates", "portable_operators"} <= failed(
        prove_int8(build_int8(live, calibration), network, calibration)
    )


def test_a_layer_left_in_fp32_is_found(network, exported, calibration, monkeypatch):
    with programs.quiet():
        from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import XNNPACKQuantizer
    whole = XNNPACKQuantizer.annotate

    def partly(self, graph):
        for node in whole(self, graph).graph.nodes:
            if node.name in ("linear_1", "relu_1"):
                del node.meta["quantization_annotation"]
        return graph

    monkeypatch.setattr(XNNPACKQuantizer, "annotate", partly)
    partial = read_back(lower_int8(exported, calibration), "int8.pte")
    proofs = prove_int8(partial, network, calibration)
    assert {"nodes", "weight_types"} <= failed(proofs)
    assert next(str(proof) for proof in proofs if proof.name == "weight_types") == (
        "weight_types: expected int8, int8, int8, found int8, float32, int8"
    )


def test_a_bias_that_is_zeroed_is_found(network, calibration):
    broken = changed(network, lambda layers: nn.init.zeros_(layers.hidden2.bias))
    assert "biases" in failed(prove_int8(build_int8(broken, calibration), network, calibration))
    assert failed(prove_fp32(build_fp32(broken), network)) == {"biases"}


def test_a_bias_that_is_lost_is_found(network, calibration, int8):
    broken = changed(network, lambda layers: layers.output.register_parameter("bias", None))
    assert "biases" in failed(prove_int8(build_int8(broken, calibration), network, calibration))


def test_a_relu_that_is_dropped_is_found(network, calibration):
    broken = changed(network, lambda layers: setattr(layers, "relu2", nn.Identity()))
    assert "fused_relus" in failed(prove_int8(build_int8(broken, calibration), network, calibration))
    assert failed(prove_fp32(build_fp32(broken), network)) == {"fused_relus"}


def test_a_relu_that_stands_alone_is_found(network):
    broken = changed(network, lambda layers: setattr(layers, "flatten", nn.Sequential(nn.Flatten(), nn.ReLU())))
    assert failed(prove_fp32(build_fp32(broken), network)) == {"nodes"}


def test_calibration_on_noise_is_found(noisy, network, calibration):
    assert failed(prove_int8(read_back(noisy, "int8.pte"), network, calibration)) == {"activation_scales"}


def test_calibration_on_dim_images_is_found(network, exported, calibration):
    program = read_back(lower_int8(exported, calibration / 2), "int8.pte")
    assert failed(prove_int8(program, network, calibration)) == {"input_scale", "activation_scales"}


def test_the_program_of_another_checkpoint_is_found(fp32, int8, calibration):
    other = NeuralNetwork(use_dropout=False).eval()
    assert failed(prove_fp32(fp32, other)) == {"weights", "biases"}
    assert {"weights", "biases"} <= failed(prove_int8(int8, other, calibration))


def test_each_program_is_refused_in_the_others_place(fp32, int8, network, calibration):
    assert {"nodes", "weight_types"} <= failed(prove_fp32(int8, network))
    assert {"nodes", "weight_types", "input_scale"} <= failed(prove_int8(fp32, network, calibration))


def test_a_program_without_layers_is_refused_and_not_stumbled_over(int8, network, calibration):
    empty = dataclasses.replace(int8, linears=(), nodes=(), delegates=())
    assert {"delegates", "nodes", "layers", "weights", "biases"} <= failed(prove_int8(empty, network, calibration))
    assert {"delegates", "nodes", "layers", "weights", "biases"} <= failed(prove_fp32(empty, network))


def flipped(content: bytes) -> bytes:
    """With one bit of a weight turned over: the weights are most of the file."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [flipped, lambda c: c[:-1], lambda c: c[:40], lambda _: b"", lambda c: c[::-1]])
def test_damaged_bytes_are_one_clear_error(pipeline, damage):
    content = damage((pipeline / paths.INT8_PROGRAM).read_bytes())
    with pytest.raises(BadInput, match=r"^int8.pte: not a whole program of .*; run: dvc repro --force quantize$"):
        read_back(content, "int8.pte")


def test_the_stage_writes_no_program_that_fails_a_proof(ran, noisy, monkeypatch):
    kept = paths.INT8_PROGRAM.read_bytes()
    built = {"fp32": paths.FP32_PROGRAM.read_bytes(), "int8": noisy}
    monkeypatch.setattr(quantize, "build", lambda *_: built)
    with pytest.raises(GateFailed, match=r"^models/int8.pte: activation_scales: expected [^\n]*, found [^\n]*$"):
        quantize.main(load_parameters(paths.PARAMETERS))
    assert paths.INT8_PROGRAM.read_bytes() == kept
    proofs = json.loads(paths.QUANTIZE_METRICS.read_text())["proofs"]
    assert proofs["int8"]["activation_scales"] is False
    assert all(proofs["fp32"].values())


def test_the_order_of_activations_is_that_of_the_layers(network):
    pixels = some_images(3).pixels()
    torch.testing.assert_close(quantize.activations_of(network, pixels)["output"], network(pixels))
