"""The plain step with several threads, each of which takes a share of the batch.

torch's own threads share one operation at a time. For small images and batches they wait for each other longer than
they compute: two of them make the teacher's training slower, two shares of a batch make it a third faster.
"""

import copy
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor, cat, nn

from armdigits.training.loss import Distillation, loss
from armdigits.training.processes import SINGLE, Group
from armdigits.training.step import PlainStep


class SplitStep(PlainStep):
    """The plain step, whose gradients are the sum of those of the threads, added in the same order each time.

    Each thread computes with a replica of the model, which has the same weights, and gradients and buffers of its own:
    batch normalization uses the statistics of a share of the batch, as with several ranks, and the model keeps those
    of the first share. The model must not draw random numbers, which threads would get in any order.
    """

    def __init__(
        self, model: nn.Module, distillation: Distillation | None = None, group: Group = SINGLE, threads: int = 2
    ) -> None:
        """As for `PlainStep`, with at least two threads. Call torch.set_num_threads(1) before."""
        super().__init__(model, distillation, group)
        self._replicas = [model]
        for _ in range(threads - 1):
            replica = copy.deepcopy(model).train()
            for parameter, original in zip(replica.parameters(), model.parameters(), strict=True):
                parameter.data = original.data
            self._replicas.append(replica)
        self._threads = ThreadPoolExecutor(threads - 1)

    def __call__(self, images: Tensor, labels: Tensor, teacher_logits: Tensor | None, learning_rate: float) -> Tensor:
        """See `step.Step`."""
        self.optimizer.param_groups[0]["lr"] = learning_rate
        count = len(self._replicas)
        teacher = [None] * count if teacher_logits is None else teacher_logits.chunk(count)
        first, *others = zip(self._replicas, images.chunk(count), labels.chunk(count), teacher, strict=False)
        futures = [self._threads.submit(self._backpropagate, *share, len(labels)) for share in others]
        logits = [self._backpropagate(*first, len(labels)), *(future.result() for future in futures)]
        used = [self.model, *(replica for replica, *_ in others)]  # fewer than threads if the batch has too few images
        for parameter, *copies in zip(*(replica.parameters() for replica in used), strict=True):
            if parameter.grad is not None:
                for each in copies:
                    parameter.grad += each.grad
                self.group.all_reduce(parameter.grad)
        self.optimizer.step()
        return cat(logits)

    def _backpropagate(
        self, replica: nn.Module, images: Tensor, labels: Tensor, teacher_logits: Tensor | None, batch_size: int
    ) -> Tensor:
        """Set the replica's gradients to a share of those of the batch's mean loss; returns the share's logits."""
        logits: Tensor = replica(images)
        mean_loss = loss(logits, labels, teacher_logits, *self.loss_settings)
        replica.zero_grad()
        (mean_loss * (len(labels) / (batch_size * self.group.world_size))).backward()
        return logits.detach()
