import pytest
from safetensors.torch import load_file

from armdigits.core import paths
from tests.helpers import run_stage_here, set_parameters


def test_the_first_layers_initial_weights_are_scaled(ran, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ran)
    set_parameters(ran, {"train.epochs": "1", "train.learning_rate": "1.0e-30"})
    models = []
    for factor in ("1.0", "2.0"):
        set_parameters(ran, {"train.first_layer_scale": factor})
        assert run_stage_here("train") == 0
        models.append(load_file(paths.MODEL))
    once, twice = models
    assert ((twice["linear1.weight"] - 2 * once["linear1.weight"]).abs() < 1e-6).all()
    assert ((twice["linear2.weight"] - once["linear2.weight"]).abs() < 1e-6).all()
