"""How fast training is beside the tutorial's loop, and how its cost grows with the data.

    python -m benchmarks.training        (make bench-training; run `make repro` first)

The tutorial's loop reads one image at a time through PIL and a DataLoader, as PyTorch's quickstart does. The others
are this project's: the bare step loop (forward, backward, Adam, no distortions, no teacher), and the recipe in
params.yaml with all that belongs to it, validation included, for some epochs. They take turns in one process on the
same images, each with the number of threads that it likes best (the tutorial's loop: the faster of one and of as many
as there are cores, in each turn); a ratio is taken within a turn. Prints, and writes nothing.
"""

import os
import statistics
import time
from collections.abc import Callable

import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from armdigits import host, paths
from armdigits.dataset import Split, read_split
from armdigits.errors import reported
from armdigits.model import NeuralNetwork
from armdigits.parameters import Augmentation, Train, load_parameters
from armdigits.torchvision_import import ToTensor
from armdigits.training import train
from stages.train import read_distillation

TURNS = 15
TUTORIAL_IMAGES = 6400  # a turn; the loop's rate does not depend on it
RECIPE_EPOCHS = 3  # a turn; what happens once is shared by ten in the pipeline
SIZES = {6_000: 10, 60_000: 1, 600_000: 1}  # images: epochs
OFF = Augmentation(rotation=0, zoom=0, shear=0, shift=0)


class OneByOne(Dataset):
    """The images as torchvision hands them out: a PIL image, then a tensor, for each index."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return ToTensor()(Image.fromarray(self.split.images[index].numpy())), int(self.split.labels[index])


def tutorial(split: Split) -> None:
    """One epoch as in https://docs.pytorch.org/tutorials/beginner/basics/quickstart_tutorial.html, with Adam."""
    network, loss_of = NeuralNetwork().train(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.001)
    for images, labels in DataLoader(OneByOne(split), batch_size=32, shuffle=True):
        loss = loss_of(network(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()


def rate(work: Callable[[], None], images: int, threads: int) -> float:
    """Images a second of `work`, which handles `images` of them."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    work()
    return images / (time.perf_counter() - start)


def bare(recipe: Train, epochs: int) -> Train:
    """The recipe with a teacher's weight of 0, for some epochs."""
    return recipe.model_copy(update={"teacher_weight": 0.0, "epochs": epochs})


def show(name: str, values: list[float], form: str = ",.0f") -> str:
    """A line with median, smallest and largest."""
    return f"{name:<52} {statistics.median(values):{form}}  [{min(values):{form}}, {max(values):{form}}]"


def main() -> None:
    """Take turns, then grow; print the report."""
    parameters = load_parameters(paths.PARAMETERS)
    recipe, cores = parameters.train, os.cpu_count() or 1
    data, validation = read_split(paths.TRAIN_DATA), read_split(paths.VALIDATION_DATA)
    few, glance = data[torch.arange(TUTORIAL_IMAGES) % len(data)], validation[torch.arange(10)]
    distillation = read_distillation(parameters)

    def steps(split: Split, epochs: int = 1) -> None:
        list(train(NeuralNetwork(dropout=recipe.dropout), split, glance, bare(recipe, epochs), OFF))

    def everything() -> None:
        some_epochs = recipe.model_copy(update={"epochs": RECIPE_EPOCHS})
        network = NeuralNetwork(dropout=recipe.dropout)
        list(train(network, data, validation, some_epochs, parameters.augmentation, distillation))

    rates: dict[str, list[float]] = {"tutorial's loop": [], "step loop": [], "recipe": []}
    for _ in tqdm(range(TURNS), desc="turns", disable=None, leave=False):
        rates["tutorial's loop"].append(max(rate(lambda: tutorial(few), len(few), threads) for threads in {1, cores}))
        rates["step loop"].append(rate(lambda: steps(data), len(data), recipe.threads))
        rates["recipe"].append(rate(everything, len(data) * RECIPE_EPOCHS, recipe.threads))

    machine = host.identify()
    print(f"{machine['cpu']} ({machine['arch']}), {cores} cores, torch {machine['torch']}, Python {machine['python']}")
    print(f"threads: tutorial's loop 1 or {cores}, the others {recipe.threads} and one that makes the images")
    print(f"median [smallest, largest] of {TURNS} turns\n")
    for name, values in rates.items():
        print(show(f"{name}, images/s", values))
    for name in ("step loop", "recipe"):
        ratios = [mine / theirs for mine, theirs in zip(rates[name], rates["tutorial's loop"], strict=True)]
        print(show(f"{name} over tutorial's loop", ratios, ".1f"))

    print("\nhow cost grows: the step loop on the same images, repeated")
    grown: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in tqdm(range(3), desc="sizes", disable=None, leave=False):
        for size, epochs in SIZES.items():
            split = data[torch.arange(size) % len(data)]
            grown[size].append(rate(lambda s=split, e=epochs: steps(s, e), size * epochs, recipe.threads))
    for size, values in grown.items():
        print(show(f"{size:,} images, images/s", values))
    medians = [statistics.median(values) for values in grown.values()]
    print(f"slowest over fastest size: {min(medians) / max(medians):.2f}")


if __name__ == "__main__":
    with reported("training benchmark"):
        main()
