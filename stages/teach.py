"""Train the teacher, and record its logits for the training images.

    python -m stages.teach           (dvc repro teach)

The model learns more from the teacher's logits than from labels. Reads the
training and validation images; writes the logits, the teacher's figures, and a
figure of augmented training images, to check that they remain legible. Resumes
like `train` after an interruption. Where train.teacher_weight is 0, no teacher
is trained and the file has no logits.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from armdigits.core import paths, records, stage
from armdigits.core.files import write_bytes
from armdigits.core.parameters import Augmentation, Parameters, Teach
from armdigits.data.dataset import Split, read_provenance, read_split
from armdigits.models.checkpoint import write_tensors
from armdigits.models.scoring import model_logits
from armdigits.models.teacher import Teacher
from armdigits.report.figures import COLUMNS, image_grid
from armdigits.training.augmentation import augment
from armdigits.training.loop import train
from armdigits.training.processes import choose_device
from armdigits.training.snapshots import Snapshots, fingerprint

BLOCK, BLOCK_PIXELS = 4096, 2**24  # images at a time, and floats, to limit memory
ROWS = 20  # of the figure of augmented images


def teacher_logits(teacher: Teacher, data: Split, ranges: Augmentation, recipe: Teach) -> Tensor:
    """The teacher's logits for the images of `data`, float32 [N, classes]: the mean over augmented views of each."""
    generator = torch.Generator().manual_seed(recipe.seed)
    total = torch.zeros(len(data), teacher.classes, device=data.images.device)
    block = min(BLOCK, BLOCK_PIXELS // data.images[0].numel())
    blocks = torch.arange(len(data), device=data.images.device).split(block)
    for _ in tqdm(range(recipe.views), desc="teacher logits", unit="view", disable=None, leave=False):
        for rows in blocks:
            pixels = data[rows].pixels()
            if ranges.is_on():
                pixels = augment(pixels, ranges, generator)
            total[rows] += model_logits(teacher, pixels)
    return total / recipe.views


def augmented_images(data: Split, ranges: Augmentation, seed: int, classes: Sequence[str], reading: str) -> bytes:
    """A PNG with a row for each of the first classes: an image of `data`, and augmented versions of it."""
    rows = classes[:ROWS]
    first = torch.tensor([int((data.labels == label).nonzero()[0]) for label in range(len(rows))])
    originals = data[first].pixels().repeat_interleave(COLUMNS, dim=0)
    images = augment(originals, ranges.largest(), torch.Generator().manual_seed(seed))
    images[::COLUMNS] = originals[::COLUMNS]
    captions = [name if column else f"{name}, original" for name in rows for column in range(COLUMNS)]
    pixels = (images * 255).round().to(torch.uint8)
    return image_grid("Augmented training images", pixels.numpy(), captions, reading)


def teach(
    parameters: Parameters, train_data: Split, classes: int, snapshots: Snapshots
) -> tuple[Tensor, records.TeacherFigures]:
    """Train the teacher, and print a line per epoch; returns its logits and its figures."""
    recipe, augmentation = parameters.teach, parameters.augmentation
    device = choose_device(parameters.compute.device)
    torch.manual_seed(recipe.seed)
    teacher = Teacher(train_data.shape, classes).to(device)
    validation_data = read_split(paths.VALIDATION_DATA)
    for epoch in train(teacher, train_data, validation_data, recipe, augmentation, snapshots=snapshots):
        print(epoch.line(recipe.epochs), flush=True)
    torch.set_num_threads(recipe.threads)
    logits = teacher_logits(teacher, train_data.to(device), augmentation, recipe)
    figures = records.TeacherFigures(
        parameters=sum(parameter.numel() for parameter in teacher.parameters()),
        validation_loss=epoch.validation_loss,
        validation_accuracy=epoch.validation_accuracy,
    )
    return logits, figures


def main(parameters: Parameters) -> None:
    """Train where a teacher is needed, and write everything at the end."""
    recipe, augmentation = parameters.teach, parameters.augmentation
    torch.set_num_threads(1)  # see split_step.py
    train_data, provenance = read_split(paths.TRAIN_DATA), read_provenance()
    classes = provenance.classes
    settings = [recipe.model_dump(), augmentation.model_dump(), parameters.compute.device]
    inputs = fingerprint(Path(__file__), parameters=settings, data=provenance.content())
    snapshots = Snapshots(paths.TEACH_SNAPSHOTS, inputs)

    logits, figures = torch.empty(0, len(classes)), None
    if records.read(paths.TEACHER, records.TeacherNeed, "preflight").needed:
        logits, figures = teach(parameters, train_data, len(classes), snapshots)
    else:
        print("no teacher is trained: train.teacher_weight is 0")
    write_tensors(paths.TEACHER_LOGITS, {"teacher_logits": logits}, recipe)
    write_bytes(paths.AUGMENTED, augmented_images(train_data, augmentation, recipe.seed, classes, provenance.reading))
    records.write(paths.TEACH_DETAILS, records.TeachDetails(dataset=provenance.name, teacher=figures))
    snapshots.remove()


if __name__ == "__main__":
    stage.run("teach", main)
