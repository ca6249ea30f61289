"""Train the teacher and ask it about the training images: from its opinions the network learns more than from labels.

    python -m stages.teach           (dvc repro teach)

Reads the training and validation images; writes the opinions, the teacher's metrics and a picture of distorted
training images, in which a person can see that a 6 stays a 6. Goes on where it was killed, as `train` does.
"""

from pathlib import Path

import torch
from tqdm import tqdm

from armdigits import device, paths, stage
from armdigits.augmentation import augment
from armdigits.checkpoint import write_tensors
from armdigits.dataset import CLASSES, Split, read_provenance, read_split
from armdigits.files import write_bytes, write_json
from armdigits.parameters import Augmentation, Parameters, Teach
from armdigits.pictures import COLUMNS, digits_grid
from armdigits.resume import Snapshots, fingerprint
from armdigits.scoring import logits_of
from armdigits.teacher import Teacher
from armdigits.training import train

PIECE = 4096  # images at a time: what the views cost in memory


def distorted_digits(data: Split, ranges: Augmentation, seed: int) -> bytes:
    """A PNG with a row for each digit: the first such image of `data`, and what the augmentation makes of it."""
    first = torch.tensor([int((data.labels == digit).nonzero()[0]) for digit in range(10)])
    originals = data[first].pixels().repeat_interleave(COLUMNS, dim=0)
    images = augment(originals, ranges, torch.Generator().manual_seed(seed))
    images[::COLUMNS] = originals[::COLUMNS]
    captions = [f"{digit}" if column else f"{digit}, original" for digit in range(10) for column in range(COLUMNS)]
    pixels = (images[:, 0] * 255).round().to(torch.uint8)
    return digits_grid("Training images as the networks see them", pixels.numpy(), captions)


def opinions_of(teacher: Teacher, data: Split, ranges: Augmentation, recipe: Teach) -> torch.Tensor:
    """The teacher's logits for the images of `data`, float32 [N, 10]: the mean over distorted views of each."""
    generator = torch.Generator().manual_seed(recipe.seed)
    total = torch.zeros(len(data), CLASSES, device=data.images.device)
    rows = torch.arange(len(data), device=data.images.device).split(PIECE)
    for _ in tqdm(range(recipe.views), desc="opinions", unit="view", disable=None, leave=False):
        for some in rows:
            pixels = data[some].pixels()
            if ranges.is_on():
                pixels = augment(pixels, ranges, generator)
            total[some] += logits_of(teacher, pixels)
    return total / recipe.views


def main(parameters: Parameters) -> None:
    """Train, print a line an epoch, and write everything at the end."""
    recipe = parameters.teach
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    target = device.choose(parameters.train.device)
    data, validation = read_split(paths.TRAIN_DATA), read_split(paths.VALIDATION_DATA)
    teacher = Teacher().to(target)
    causes = fingerprint(
        Path(__file__),
        parameters=[recipe.model_dump(), parameters.augmentation.model_dump()],
        data=read_provenance(),
    )
    snapshots = Snapshots(paths.TEACH_SNAPSHOTS, causes)
    for epoch in train(teacher, data, validation, recipe, parameters.augmentation, snapshots=snapshots):
        print(epoch.line(recipe.epochs), flush=True)

    opinions = opinions_of(teacher, data.to(target), parameters.augmentation, recipe)
    write_tensors(paths.OPINIONS, {"opinions": opinions}, recipe)
    write_bytes(paths.AUGMENTED, distorted_digits(data, parameters.augmentation, recipe.seed))
    write_json(
        paths.TEACH_METRICS,
        {
            "dataset": read_provenance()["name"],
            "parameters": sum(tensor.numel() for tensor in teacher.parameters()),
            "validation_loss": epoch.validation_loss,
            "validation_accuracy": epoch.validation_accuracy,
        },
    )
    snapshots.remove()


if __name__ == "__main__":
    stage.run("teach", main)
