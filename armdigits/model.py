"""The network: 784-96-256-10, 102,762 parameters."""

from collections import OrderedDict

from torch import Tensor, nn


class NeuralNetwork(nn.Module):
    """A multilayer perceptron for 28x28 images of handwritten digits.

    Args:
        use_dropout: with `False`, `nn.Identity` stands in the place of both dropouts, so that the same
            `state_dict` loads in both: the form that is exported and quantized.
        dropout: share of the hidden activations that are zeroed in training.

    Shapes:
        input float32 [N, 1, 28, 28], pixel / 255, in [0, 1]; output float32 [N, 10], raw logits. Softmax belongs
        to the post-processing: the largest logit is the largest probability.
    """

    def __init__(self, use_dropout: bool = True, dropout: float = 0.2) -> None:
        super().__init__()

        def maybe_dropout() -> nn.Module:
            return nn.Dropout(dropout) if use_dropout else nn.Identity()

        self.layers = nn.Sequential(
            OrderedDict(
                flatten=nn.Flatten(),
                hidden1=nn.Linear(784, 96),
                relu1=nn.ReLU(),
                dropout1=maybe_dropout(),
                hidden2=nn.Linear(96, 256),
                relu2=nn.ReLU(),
                dropout2=maybe_dropout(),
                output=nn.Linear(256, 10),
            )
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 1, 28, 28] to logits [N, 10]."""
        return self.layers(images)
