"""A small convolutional network: three convolutions and two linear layers, for MNIST 98,698 parameters."""

from torch import Tensor, nn

from armdigits.core.shape import MNIST, Shape


class ConvolutionalNetwork(nn.Module):
    """A convolutional network for images of at least 8x8 pixels.

    It has no batch normalisation: without it, the program holds exactly the numbers of the checkpoint. The first
    convolution takes every second pixel, which saves three quarters of the work in the layer with the largest images.

    Args:
        use_dropout: `False` leaves the dropout out, for export and quantization. The same `state_dict` loads in both
            forms.
        dropout: probability with which an activation of the hidden linear layer is zeroed in training.
        shape: of an image.
        classes: number of outputs.

    Shapes:
        input float32 [N, *shape], pixel / 255, in [0, 1]; output float32 [N, classes], raw logits.
    """

    def __init__(self, use_dropout: bool = True, dropout: float = 0.2, shape: Shape = MNIST, classes: int = 10) -> None:
        super().__init__()
        channels, *sides = shape
        height, width = ((side + 1) // 2 // 2 // 2 for side in sides)  # after the stride and the two poolings
        self.conv1 = nn.Conv2d(channels, 16, kernel_size=5, stride=2, padding=2)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.relu3 = nn.ReLU()
        self.pool3 = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.linear1 = nn.Linear(64 * height * width, 128)
        self.relu4 = nn.ReLU()
        self.dropout = nn.Dropout(dropout) if use_dropout else nn.Identity()
        self.linear2 = nn.Linear(128, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, *shape] to logits [N, classes]."""
        x = self.pool2(self.relu2(self.conv2(self.relu1(self.conv1(images)))))
        x = self.pool3(self.relu3(self.conv3(x)))
        x = self.dropout(self.relu4(self.linear1(self.flatten(x))))
        logits: Tensor = self.linear2(x)
        return logits
