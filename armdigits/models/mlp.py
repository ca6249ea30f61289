"""The tutorial's network: a multilayer perceptron, for MNIST 784-96-256-10, 102,762 parameters."""

from math import prod

from torch import Tensor, nn

from armdigits.core.shape import MNIST, Shape


class NeuralNetwork(nn.Module):
    """A multilayer perceptron.

    Args:
        use_dropout: `False` puts `nn.Identity` in the place of both dropouts, for export and quantization. The same
            `state_dict` loads in both forms.
        dropout: probability with which a hidden activation is zeroed in training.
        shape: of an image.
        classes: number of outputs.

    Shapes:
        input float32 [N, *shape], pixel / 255, in [0, 1]; output float32 [N, classes], raw logits.
    """

    def __init__(self, use_dropout: bool = True, dropout: float = 0.2, shape: Shape = MNIST, classes: int = 10) -> None:
        super().__init__()
        self.use_dropout = use_dropout
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(prod(shape), 96)
        self.relu1 = nn.ReLU()
        self.dropout1 = nn.Dropout(dropout) if use_dropout else nn.Identity()
        self.linear2 = nn.Linear(96, 256)
        self.relu2 = nn.ReLU()
        self.dropout2 = nn.Dropout(dropout) if use_dropout else nn.Identity()
        self.linear3 = nn.Linear(256, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, *shape] to logits [N, classes]."""
        x = self.flatten(images)
        x = self.dropout1(self.relu1(self.linear1(x)))
        x = self.dropout2(self.relu2(self.linear2(x)))
        logits: Tensor = self.linear3(x)
        return logits
