"""How fast training is compared with the loop of PyTorch's quickstart, and how its cost grows with the data.

    python -m benchmarks.training        (make bench-training; run `make repro` first)

The quickstart's loop reads one image at a time through PIL and a DataLoader. The others are this project's: the step
loop (forward, backward, Adam; no augmentation, no teacher) with the fast step and with the plain one, and the recipe
of params.yaml in full, including validation, for some epochs. They take turns in one process, each
with the number of threads that suits it best (the quickstart's loop: the faster of one and one per core, in each turn);
a ratio is taken within a turn. Prints, and writes nothing.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterable

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from armdigits.core import paths
from armdigits.core.errors import exit_on_failure
from armdigits.core.parameters import Parameters, load_parameters
from armdigits.data.dataset import Split, read_split
from armdigits.data.torchvision_import import ToTensor
from armdigits.measure import host
from armdigits.models.mlp import NeuralNetwork
from armdigits.training.loop import train
from armdigits.training.step import PlainStep
from armdigits.training.step_choice import choose_step
from benchmarks.data import NO_AUGMENTATION
from stages.train import read_distillation

TURNS = 15
QUICKSTART_IMAGES = 6400  # per turn; the loop's rate does not depend on it
RECIPE_EPOCHS = 3  # per turn; one-time costs weigh less in the pipeline's ten
SIZES = {6_000: 10, 60_000: 1, 600_000: 1}  # images: epochs
QUICKSTART, STEP_LOOP, PLAIN, RECIPE = "quickstart's loop", "step loop", "step loop, plain step", "recipe"


class OneByOne(Dataset[tuple[Tensor, int]]):
    """The images as torchvision's data sets return them: a PIL image, then a tensor, for each index."""

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return ToTensor()(Image.fromarray(self.split.images[index, 0].numpy())), int(self.split.labels[index])


def quickstart(data: Split) -> None:
    """One epoch as in https://docs.pytorch.org/tutorials/beginner/basics/quickstart_tutorial.html, with Adam."""
    model, loss_fn = NeuralNetwork().train(), nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    for images, labels in DataLoader(OneByOne(data), batch_size=32, shuffle=True):
        loss = loss_fn(model(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()


class Loops:
    """This project's loops; each call trains a new model."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.data, self.validation = read_split(paths.TRAIN_DATA), read_split(paths.VALIDATION_DATA)
        self.distillation = read_distillation(parameters)

    def new_model(self) -> NeuralNetwork:
        """A new model."""
        return NeuralNetwork(dropout=self.parameters.train.dropout)

    def steps(self, data: Split, epochs: int = 1, plain: bool = False) -> None:
        """Forward, backward and Adam, with the step that training chooses or the plain one."""
        recipe = self.parameters.train.model_copy(update={"epochs": epochs})
        glance = self.validation[torch.arange(10)]
        make_step = PlainStep if plain else choose_step
        list(train(self.new_model(), data, glance, recipe, NO_AUGMENTATION, make_step=make_step))

    def recipe(self) -> None:
        """Everything that the train stage does, but for fewer epochs."""
        recipe = self.parameters.train.model_copy(update={"epochs": RECIPE_EPOCHS, "threads": 1})
        data = (self.data, self.validation)
        list(train(self.new_model(), *data, recipe, self.parameters.augmentation, self.distillation))


def rate(work: Callable[[], None], images: int, threads: int = 1) -> float:
    """Images per second of `work`, which handles `images` of them with `threads` of torch's threads."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    work()
    return images / (time.perf_counter() - start)


def take_turns(loops: Loops, cores: int) -> dict[str, list[float]]:
    """The images per second of each loop, in each turn."""
    data = loops.data
    few = data[torch.arange(QUICKSTART_IMAGES) % len(data)]
    rates: dict[str, list[float]] = {QUICKSTART: [], STEP_LOOP: [], PLAIN: [], RECIPE: []}
    for _ in tqdm(range(TURNS), desc="turns", disable=None, leave=False):
        rates[QUICKSTART].append(max(rate(lambda: quickstart(few), len(few), count) for count in {1, cores}))
        rates[STEP_LOOP].append(rate(lambda: loops.steps(data), len(data)))
        rates[PLAIN].append(rate(lambda: loops.steps(data, plain=True), len(data)))
        rates[RECIPE].append(rate(loops.recipe, len(data) * RECIPE_EPOCHS))
    return rates


def grow(loops: Loops) -> dict[int, list[float]]:
    """The images per second of the step loop by the number of images, three times each."""
    rates: dict[int, list[float]] = {size: [] for size in SIZES}
    for _ in tqdm(range(3), desc="sizes", disable=None, leave=False):
        for size, epochs in SIZES.items():
            repeated = loops.data[torch.arange(size) % len(loops.data)]

            def work(split: Split = repeated, epochs: int = epochs) -> None:
                loops.steps(split, epochs)

            rates[size].append(rate(work, size * epochs))
    return rates


def line(name: str, values: Iterable[float], form: str = ",.0f") -> str:
    """A name with median, smallest and largest value."""
    values = list(values)
    return f"{name:<52} {statistics.median(values):{form}}  [{min(values):{form}}, {max(values):{form}}]"


def main() -> None:
    """Take turns, then grow; print the report."""
    loops, cores = Loops(load_parameters(paths.PARAMETERS)), os.cpu_count() or 1
    rates = take_turns(loops, cores)
    machine = host.identify()
    print("{cpu} ({arch}), {cores} cores, torch {torch}, Python {python}".format(**machine))
    print(f"threads: {QUICKSTART} 1 or {cores}, the others 1, and one more that makes the images")
    print(f"median [smallest, largest] of {TURNS} turns\n")
    for name, values in rates.items():
        print(line(f"{name}, images/s", values))
    for name in list(rates)[1:]:
        ratios = [ours / theirs for ours, theirs in zip(rates[name], rates[QUICKSTART], strict=True)]
        print(line(f"{name} over {QUICKSTART}", ratios, ".1f"))

    print("\nhow cost grows: the step loop on the training images, repeated")
    grown = grow(loops)
    for size, values in grown.items():
        print(line(f"{size:,} images, images/s", values))
    medians = [statistics.median(values) for values in grown.values()]
    print(f"slowest over fastest size: {min(medians) / max(medians):.2f}")


if __name__ == "__main__":
    with exit_on_failure("training benchmark"):
        main()
