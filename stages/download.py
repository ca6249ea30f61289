"""Download the data set, verify its checksums, set the validation images aside.

    python -m stages.download        (dvc repro download)

Reads MNIST from its mirrors (or from `DATA_MIRROR`), or scikit-learn's digits;
writes data/*.safetensors and data/provenance.json.
"""

from armdigits.core import paths, stage
from armdigits.core.parameters import Dataset, Parameters
from armdigits.data import sources
from armdigits.data.dataset import Split, write_dataset


def download(dataset: Dataset) -> tuple[dict[str, Split], dict[str, str]]:
    """The training, validation and test images, and the checksums of the files or arrays that they come from."""
    if dataset.name == "mnist":
        train, test, source = sources.mnist(paths.DOWNLOADS)
    else:
        train, test, source = sources.digits(dataset.seed)
    train, validation = sources.split_off(train, dataset.validation, dataset.seed)
    return {"train": train, "validation": validation, "test": test}, source


def main(parameters: Parameters) -> None:
    """Write the data set. If no public mirror can be reached, create the file that tells `make repro` so."""
    paths.NO_MIRROR.unlink(missing_ok=True)
    try:
        splits, source = download(parameters.dataset)
    except sources.NoMirror:
        paths.NO_MIRROR.touch()
        raise
    files = {"train": paths.TRAIN_DATA, "validation": paths.VALIDATION_DATA, "test": paths.TEST_DATA}
    write_dataset(parameters.dataset.name, source, {files[part]: split for part, split in splits.items()})
    for part, split in splits.items():
        print(f"{parameters.dataset.name}: {len(split):,} {part} images")


if __name__ == "__main__":
    stage.run("download", main)
