"""`armdigits verify` on a project that DVC has really run: what it finds, and that its command repairs it."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from armdigits.cli import main
from armdigits.core import paths
from tests.helpers import run

REPAIR = "verify: to repair, run: "


def flip(path: Path) -> None:
    """Flip a bit as a failing disk does: size, time and permissions stay."""
    status = path.stat()
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(status.st_mode)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cached(project: Path, path: Path) -> Path:
    """The object in the cache that holds the bytes of `path`."""
    content = (project / path).read_bytes()
    (found,) = (each for each in project.glob(".dvc/cache/files/md5/*/*") if each.read_bytes() == content)
    return found


@pytest.fixture
def verify(ran: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[int, list[str]]]:
    """Verify the project in this process, which has torch already: the exit code and the lines."""

    def verify() -> tuple[int, list[str]]:
        try:
            main(["verify"])
        except SystemExit as ended:
            return ended.code, capsys.readouterr().err.splitlines()
        return 0, capsys.readouterr().out.splitlines()

    return verify


def test_undamaged_files_are_counted(ran, verify):
    code, (line,) = verify()
    assert code == 0
    outs = sum(len(stage["outs"]) for stage in yaml.safe_load((ran / "dvc.lock").read_text("utf-8"))["stages"].values())
    objects = len(list(ran.glob(".dvc/cache/files/md5/*/*")))
    assert line == f"verified: {outs} outputs, {objects} objects in the cache, 8 links between the files"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "where"),
    [
        (paths.MODEL, "workspace"),
        (paths.MODEL, "cache"),
        (paths.MODEL, "both"),
        (paths.TEST_DATA, "both"),
        (paths.EVALUATE_METRICS, "workspace"),
    ],
)
def test_damage_that_dvc_does_not_see_is_reported_and_the_named_command_repairs_it(ran, verify, path, where):
    before = {each: each.read_bytes() for each in ran.glob("m*/*") if each.is_file()}
    damaged = {"workspace": [ran / path], "cache": [cached(ran, path)]}
    damaged["both"] = [*damaged["workspace"], *damaged["cache"]]
    for each in damaged[where]:
        flip(each)
    code, (*reasons, hint) = verify()
    assert code == 1
    assert len(reasons) == len(damaged[where])
    for each in damaged[where]:
        assert any(reason.startswith(f"verify: {each.relative_to(ran)}: expected MD5 ") for reason in reasons)
    assert hint.startswith(REPAIR)
    done = run(ran, "sh", "-c", hint.removeprefix(REPAIR))
    assert done.returncode == 0, done.stderr
    assert verify()[0] == 0
    timings = {ran / path for path in (paths.BENCHMARK_METRICS, paths.BENCHMARK_DETAILS, paths.LATENCY)}
    assert all(each.read_bytes() == content for each, content in before.items() if each not in timings)


def test_a_missing_file_is_reported(ran, verify):
    (ran / paths.INT8_PROGRAM).unlink()
    code, lines = verify()
    assert code == 1
    assert lines[0].startswith("verify: models/int8.pte: expected MD5 ")
    assert lines[0].endswith("found none (No such file or directory)")


def test_files_of_two_runs_are_reported_even_when_the_lock_has_their_digests(ran, verify):
    record = ran / paths.PROGRAM_RECORD
    record.write_text(json.dumps({**json.loads(record.read_text("utf-8")), "weights_sha256": "0"}), "utf-8")
    assert run(ran, "dvc", "commit", "--force").returncode == 0
    code, lines = verify()
    assert code == 2
    assert lines == [
        "verify: models/fp32.pte: made from another checkpoint than models/model.safetensors; "
        "run: dvc repro --force quantize"
    ]


def test_without_a_lock_file_there_is_one_line(ran, verify):
    (ran / "dvc.lock").unlink()
    assert verify() == (2, ["verify: dvc.lock: no such file; run: dvc repro"])
