"""The shape of an image: a fact of the data set that goes with everything made from it."""

Shape = tuple[int, int, int]  # channels (1: grey, 3: red, green, blue), height, width

MNIST: Shape = (1, 28, 28)
MIN_SIDE, MAX_SIDE = 8, 224  # pixels


def check_shape(shape: Shape) -> None:
    """Raise ValueError for a shape that images cannot have."""
    channels, *sides = shape
    if channels not in (1, 3) or not all(MIN_SIDE <= side <= MAX_SIDE for side in sides):
        expected = f"1 or 3 channels and sides of {MIN_SIDE} to {MAX_SIDE} pixels"
        raise ValueError(f"images: expected {expected}, got {list(shape)}")
