"""DVC's cache: whether its objects have the hash that is their name. DVC trusts them, and flushes none to the disk."""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path

from armdigits.core.lock import Outs, md5_of

HASHED_BYTES = 1_000_000_000  # of the objects that `damaged_objects` hashes, which takes two seconds


def objects_folder() -> Path:
    """The folder of the objects, as DVC's configuration names it."""
    cache = Path(".dvc/cache")
    for file, settings in _configuration():
        if name := settings.get("cache", {}).get("dir"):
            cache = file.parent / name
    return cache / "files" / "md5"


def unverified_remote() -> str:
    """The name of the default remote, where DVC does not check the hash of what it pulls from there; else empty."""
    name = ""
    verified: dict[str, str] = {}
    for _, settings in _configuration():
        name = settings.get("core", {}).get("remote", name)
        verified |= {section: values["verify"] for section, values in settings.items() if "verify" in values}
    return "" if verified.get(f'remote "{name}"', "").lower() == "true" else name


def _configuration() -> Iterator[tuple[Path, dict[str, dict[str, str]]]]:
    """DVC's configuration files and their sections; later ones count more. To ask DVC takes a second."""
    from configobj import ConfigObj  # not for the help of a verb that may never need it
    from dvc.dirs import global_config_dir, system_config_dir

    folders = (Path(system_config_dir()), Path(global_config_dir()), Path(".dvc"))
    for file in (*(folder / "config" for folder in folders), Path(".dvc/config.local")):
        yield file, ConfigObj(str(file), list_values=False)


def damaged_objects(outs: Outs) -> dict[Path, str]:
    """Path -> reason for each object of these outputs that has other bytes than its name says; missing ones are fine.

    Of the largest ones only the size is compared, where all have more than `HASHED_BYTES`.
    """
    folder = objects_folder()
    locked = {folder / out.md5[:2] / out.md5[2:]: out for stage in outs.values() for out in stage.values()}
    objects = {path: out for path, out in locked.items() if path.exists()}
    lists = {path: out.md5.removesuffix(".dir") for path, out in objects.items() if path.suffix}
    sized = sorted((out.size, path, out.md5) for path, out in objects.items() if not path.suffix)
    in_all = accumulate(size for size, *_ in sized)
    hashed = {path: md5 for total, (_, path, md5) in zip(in_all, sized, strict=True) if total <= HASHED_BYTES}
    others = {path: (size, path.stat().st_size) for size, path, _ in sized if path not in hashed}
    return mismatches({**lists, **hashed}) | {
        path: f"expected {size:,} bytes, found {found:,}" for path, (size, found) in others.items() if size != found
    }


def mismatches(expected: Mapping[Path, str]) -> dict[Path, str]:
    """Path -> reason for every file that has another MD5 than the expected one."""
    with ThreadPoolExecutor() as pool:  # hashing and reading release the GIL
        found = zip(expected.items(), pool.map(_md5, expected), strict=True)
        return {path: f"expected MD5 {md5}, found {other}" for (path, md5), other in found if other != md5}


def _md5(path: Path) -> str:
    try:
        return md5_of(path)
    except OSError as error:
        return f"none ({error.strerror})"
