"""DVC's cache and its remote."""

from pathlib import Path

import pytest

from armdigits.core import cache
from armdigits.core.cache import damaged_objects, objects_folder, unverified_remote
from armdigits.core.lock import Out

MD5 = "9a0364b9e99bb480dd25e1f0284c8555"  # of b"content"
OUTS = {"train": {"models/x": Out(MD5, 7), "models/y": Out("0" * 32, 7)}}


@pytest.fixture(autouse=True)
def repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project without a configuration of the user."""
    for level in ("SYSTEM", "GLOBAL"):
        monkeypatch.setenv(f"DVC_{level}_CONFIG_DIR", str(folder / level))
    (folder / ".dvc").mkdir()
    return folder


def test_the_configuration_names_the_folder_of_the_objects() -> None:
    assert objects_folder() == Path(".dvc/cache/files/md5")
    Path(".dvc/config").write_text("[cache]\n    dir = ../shared\n", "utf-8")
    assert objects_folder() == Path(".dvc/../shared/files/md5")
    Path(".dvc/config.local").write_text("[cache]\n    dir = /mnt/cache\n", "utf-8")
    assert objects_folder() == Path("/mnt/cache/files/md5")


@pytest.mark.parametrize(("hashed", "reason"), [(7, "expected MD5 "), (6, "expected 7 bytes, found 0")])
def test_an_object_with_other_bytes_is_damaged_and_a_missing_one_is_not(
    monkeypatch: pytest.MonkeyPatch, hashed: int, reason: str
) -> None:
    monkeypatch.setattr(cache, "HASHED_BYTES", hashed)
    path = objects_folder() / MD5[:2] / MD5[2:]
    path.parent.mkdir(parents=True)
    path.write_bytes(b"content")
    assert damaged_objects(OUTS) == {}
    path.write_bytes(b"")
    ((found, text),) = damaged_objects(OUTS).items()
    assert found == path and text.startswith(reason)


def test_a_default_remote_without_verify_is_named() -> None:
    assert unverified_remote() == ""
    remote = "[core]\n    remote = store\n['remote \"store\"']\n    url = /mnt/x\n"
    Path(".dvc/config").write_text(remote, "utf-8")
    assert unverified_remote() == "store"
    Path(".dvc/config").write_text(remote + "    verify = true\n", "utf-8")
    assert unverified_remote() == ""
