"""Which step a training takes: the plain one, the fast one or the split one."""

from torch import nn

from armdigits.core.parameters import Recipe
from armdigits.training.fast_step import FastStep, is_perceptron, reason_against
from armdigits.training.loss import Distillation
from armdigits.training.processes import SINGLE, Group
from armdigits.training.split_step import SplitStep
from armdigits.training.step import PlainStep, Step


def choose_step(
    model: nn.Module,
    distillation: Distillation | None = None,
    group: Group = SINGLE,
    recipe: Recipe | None = None,
) -> Step:
    """The split step for several threads on the CPU, the fast step for a perceptron, else the plain step.

    A line is printed where a perceptron does without the fast step, and where several threads have no effect.
    """
    device = next(model.parameters()).device.type
    lines = []
    if recipe and recipe.threads > 1:
        if device == "cpu":
            return SplitStep(model, distillation, group, recipe, recipe.threads)
        lines.append(f"{recipe.threads} threads have no effect on {device}")
    if is_perceptron(model):
        reason = reason_against(model, distillation, recipe)
        if not reason:
            return FastStep(model, distillation, group)
        lines.append(f"{reason}: training with the plain step")
    if group.rank == 0:
        print(*lines, sep="\n", end="\n" if lines else "", flush=True)
    return PlainStep(model, distillation, group, recipe)
