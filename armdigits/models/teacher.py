"""The teacher: a convolutional network whose logits the model is trained on.

It is more accurate than the perceptron and too slow to ship. Knowledge distillation: G. Hinton, O. Vinyals,
J. Dean, "Distilling the Knowledge in a Neural Network", 2015.
"""

import torch
from torch import Tensor, nn

from armdigits.core.shape import MNIST, Shape


class Teacher(nn.Module):
    """Three convolutions and two linear layers, for MNIST 156,154 parameters.

    Shapes:
        input float32 [N, *shape] in [0, 1]; output float32 [N, classes], raw logits.
    """

    def __init__(self, shape: Shape = MNIST, classes: int = 10) -> None:
        super().__init__()
        channels, *sides = shape
        height, width = (-(-side // 8) for side in sides)  # after three strides
        self.classes = classes
        self.layers = nn.Sequential(
            *_convolution(channels, 16, kernel=5, stride=2),
            *_convolution(16, 32, kernel=3, stride=2),
            *_convolution(32, 64, kernel=3, stride=2),
            nn.Flatten(),
            nn.Linear(64 * height * width, 128),
            nn.ReLU(),
            nn.Linear(128, classes),
        ).to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's annotations lack it

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, *shape] to logits [N, classes]."""
        logits: Tensor = self.layers(images)
        return logits


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )
