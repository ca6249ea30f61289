"""The plain step with several threads, each of which takes a share of the batch.

torch's own threads share one operation at a time. For small images and batches they wait for each other longer than
they compute: two of them make the teacher's training slower, two shares of a batch make it a third faster.
"""

import copy
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor, cat, nn

from armdigits.core.errors import BadInput
from armdigits.core.parameters import Recipe
from armdigits.training.loss import Distillation
from armdigits.training.processes import SINGLE, Group
from armdigits.training.step import PlainStep


class SplitStep(PlainStep):
    """The plain step, whose gradients are the mean of those of the threads, added in the same order each time.

    Each thread computes with a replica of the model, which has the same weights, and gradients and buffers of its own:
    batch normalization uses the statistics of a share of the batch, as with several ranks, and the model keeps those
    of the first share. The model must not draw random numbers: threads would draw them in an arbitrary order.
    """

    def __init__(
        self,
        model: nn.Module,
        distillation: Distillation | None = None,
        group: Group = SINGLE,
        recipe: Recipe | None = None,
        threads: int = 2,
    ) -> None:
        """As for `PlainStep`, with at least two threads. Call torch.set_num_threads(1) before.

        Raises:
            BadInput: the model has dropout.
        """
        super().__init__(model, distillation, group, recipe)
        if any(isinstance(module, nn.Dropout) and module.p for module in model.modules()):
            raise BadInput(f"params.yaml: threads of train or teach: expected 1 with dropout, got {threads}")
        self._parts: list[PlainStep] = [self]
        for _ in range(threads - 1):
            part = copy.copy(self)
            part.model = copy.deepcopy(model).train()
            for parameter, original in zip(part.model.parameters(), model.parameters(), strict=True):
                parameter.data = original.data
            self._parts.append(part)
        self._threads = ThreadPoolExecutor(threads - 1)

    def backpropagate(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None) -> Tensor:
        """See `PlainStep.backpropagate`."""
        count = len(self._parts)
        teacher = [None] * count if teacher_logits is None else teacher_logits.chunk(count)
        # With fewer images than threads, there are fewer shares than parts.
        first, *others = zip(self._parts, images.chunk(count), labels.chunk(count), teacher, strict=False)
        futures = [self._threads.submit(PlainStep.backpropagate, *share) for share in others]
        logits = [PlainStep.backpropagate(*first), *(future.result() for future in futures)]
        shares = [len(each) / len(labels) for each in logits]
        for parameter, *replicas in zip(*(part.model.parameters() for part, *_ in (first, *others)), strict=True):
            if parameter.grad is not None:
                parameter.grad *= shares[0]
                for replica, share in zip(replicas, shares[1:], strict=True):
                    parameter.grad.add_(replica.grad, alpha=share)
        return cat(logits)
