"""Get the data set, verify it, set the validation images aside.

    python -m stages.download        (dvc repro download)

Reads the data set that dataset.name and dataset.path name: MNIST from its
mirrors (or from `DATA_MIRROR`), scikit-learn's digits, or the user's own files;
writes data/*.safetensors and data/provenance.json.
"""

from armdigits.core import paths, stage
from armdigits.core.errors import printable
from armdigits.core.parameters import Parameters, check_sizes
from armdigits.data import registry, sources
from armdigits.data.dataset import write_dataset
from armdigits.data.folder import left_out_lines
from armdigits.data.images import parts_of


def main(parameters: Parameters) -> None:
    """Write the data set. If no public mirror can be reached, create the file that tells `make repro` so."""
    dataset = parameters.dataset
    paths.NO_MIRROR.unlink(missing_ok=True)
    try:
        images = registry.load(dataset)
    except sources.NoMirror:
        paths.NO_MIRROR.touch()
        raise
    for line in left_out_lines(images.left_out):
        print(line)
    check_sizes(parameters, len(images.classes), len(images.train), len(images.added or ()))

    name = registry.full_name(dataset)
    parts = parts_of(images, dataset.validation, dataset.seed)
    files = {"train": paths.TRAIN_DATA, "validation": paths.VALIDATION_DATA, "test": paths.TEST_DATA}
    splits = {files[part]: split for part, split in parts.items()}
    write_dataset(name, images.source, splits, images.classes, images.left_out, dataset.reading)
    for part, split in parts.items():
        print(f"{printable(name)}: {len(split):,} {part} images")


if __name__ == "__main__":
    stage.run("download", main)
