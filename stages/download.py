"""Bring the data set, prove that it is the published one, and set the validation images aside.

    python -m stages.download        (dvc repro download)

Reads the mirrors (`DATA_MIRROR` first) or scikit-learn, writes data/*.safetensors and data/provenance.json.
"""

from armdigits import paths, sources, stage
from armdigits.dataset import Split, write_dataset
from armdigits.parameters import Dataset, Parameters


def download(dataset: Dataset) -> tuple[dict[str, Split], dict[str, str]]:
    """The training, validation and test images of the data set, and the checksums of what they were made from."""
    if dataset.name == "mnist":
        train, test, source = sources.mnist(paths.DOWNLOADS)
    else:
        train, test, source = sources.digits(dataset.seed)
    train, validation = sources.split_off(train, dataset.validation, dataset.seed)
    return {"train": train, "validation": validation, "test": test}, source


def main(parameters: Parameters) -> None:
    """Write the data set, or leave a note for `make repro` when no mirror can be reached."""
    paths.NO_MIRROR.unlink(missing_ok=True)
    try:
        splits, source = download(parameters.dataset)
    except sources.NoMirror:
        paths.NO_MIRROR.touch()
        raise
    places = {"train": paths.TRAIN_DATA, "validation": paths.VALIDATION_DATA, "test": paths.TEST_DATA}
    write_dataset(parameters.dataset.name, source, {places[part]: split for part, split in splits.items()})
    for part, split in splits.items():
        print(f"{parameters.dataset.name}: {len(split):,} {part} images")


if __name__ == "__main__":
    stage.run("download", main)
