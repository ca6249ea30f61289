"""The optimizers that `train.optimizer` chooses from, and the tensors of any torch optimizer, for snapshots.

torch makes an optimizer's tensors in its first step. What they will be is seen on a copy, so a training that resumes
knows what a snapshot must hold, whichever optimizer `optimizer_of` returns.
"""

import copy
import inspect
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from armdigits.core.errors import Failure
from armdigits.core.parameters import Recipe, Train

Kind = TypeVar("Kind", bound=Optimizer)


def _uncompiled(kind: type[Kind]) -> type[Kind]:
    """The same optimizer, to the bit, without its import of torch's compiler, which takes two seconds.

    Its methods are wrapped so that the first call imports the compiler, only to exclude them from compilation
    (torch/_compile.py, torch/optim/optimizer.py). Nothing here is compiled, so these are the methods themselves.
    """
    names = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    return type(kind.__name__, (kind,), {"step": torch.no_grad()(inspect.unwrap(kind.step)), **methods})


Adam, AdamW, SGD = _uncompiled(torch.optim.Adam), _uncompiled(torch.optim.AdamW), _uncompiled(torch.optim.SGD)


def optimizer_of(model: nn.Module, recipe: Recipe | None = None) -> Optimizer:
    """The optimizer of the model's `recipe`, and Adam for the teacher. Each step sets the learning rate."""
    parameters = model.parameters()
    match recipe:
        case Train(optimizer="adamw"):
            return AdamW(parameters, weight_decay=recipe.weight_decay, fused=True)
        case Train(optimizer="sgd"):
            return SGD(parameters, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=True)
    return Adam(parameters, fused=True)


def tensors_of(optimizer: Optimizer) -> dict[str, Tensor]:
    """The tensors that the next step needs, by name.

    Raises:
        Failure: the next step needs something else too.
    """
    tensors = {}
    for number, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            if not isinstance(value, Tensor):
                raise not_resumable(optimizer, f"it keeps {key} ({type(value).__name__}), which is no tensor")
            tensors[f"optimizer.{number}.{key}"] = value
    return tensors


def tensors_after_a_step(optimizer: Optimizer) -> dict[str, Tensor]:
    """The same after the first step, which a copy takes here; only names, shapes and types count.

    Raises:
        Failure: as `tensors_of`, or the step fails.
    """
    trial = copy.deepcopy(optimizer)
    options = copy.deepcopy(trial.state_dict()["param_groups"])
    for group in trial.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    try:
        trial.step()
    except (TypeError, RuntimeError) as error:
        raise not_resumable(optimizer, str(error).splitlines()[0]) from None
    if trial.state_dict()["param_groups"] != options:
        raise not_resumable(optimizer, "its steps change its options")
    return tensors_of(trial)


def load_tensors(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Have the optimizer continue with copies of `tensors`, which are those of `tensors_of` at another time."""
    saved = optimizer.state_dict()
    for name, tensor in tensors.items():
        _, number, key = name.split(".", maxsplit=2)
        saved["state"].setdefault(int(number), {})[key] = tensor.clone()
    optimizer.load_state_dict(saved)


def not_resumable(optimizer: Optimizer, reason: str) -> Failure:
    """The failure of an optimizer whose training could not be resumed."""
    return Failure(f"armdigits/training/optimizer.py: {type(optimizer).__name__} cannot be used: {reason}")
