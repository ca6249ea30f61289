"""Git vouches: what a remote or a damaged cache puts in the place of an output is refused."""

import json
import re
import shutil
import sys
from itertools import chain
from pathlib import Path

import pytest

from armdigits.core import files, paths
from armdigits.core.lock import read_lock
from tests.helpers import run, run_stage_here

REPLACED = {
    "quantize": [paths.INT8_PROGRAM, paths.PROGRAM_RECORD],
    "export": [paths.C_SOURCE, paths.EXPORT_DETAILS],
}
CONSTRUCTOR = b"""
#include <stdio.h>
__attribute__((constructor)) static void run(void) { fclose(fopen("foreign-code", "w")); }
"""


def replace_in(storage: Path) -> None:
    """Replace the int8 program, the C source and their records in a remote, so that they agree with each other."""
    program = paths.FP32_PROGRAM.read_bytes()
    source = paths.C_SOURCE.read_bytes() + CONSTRUCTOR
    record = json.loads(paths.PROGRAM_RECORD.read_text("utf-8"))
    record["programs_sha256"]["int8.pte"] = files.sha256(program)
    details = json.loads(paths.EXPORT_DETAILS.read_text("utf-8"))
    details["sources_sha256"]["digits.c"], details["program_sha256"] = files.sha256(source), files.sha256(program)
    contents = {
        paths.INT8_PROGRAM: program,
        paths.PROGRAM_RECORD: json.dumps(record).encode(),
        paths.C_SOURCE: source,
        paths.EXPORT_DETAILS: json.dumps(details).encode(),
    }
    for stage, replaced in REPLACED.items():
        for path in replaced:
            md5 = read_lock()[stage][str(path)].md5
            stored = storage / "files" / "md5" / md5[:2] / md5[2:]
            stored.chmod(0o644)
            stored.write_bytes(contents[path])
            stored.chmod(0o444)  # DVC hashes those of a local remote that have another mode


@pytest.mark.slow
def test_consistent_foreign_files_of_a_remote_are_neither_loaded_nor_compiled(ran: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    for command in (["remote", "add", "--default", "storage", str(storage)], ["push", "-q"]):
        assert run(ran, "dvc", *command).returncode == 0
    replace_in(storage)
    shutil.rmtree(ran / ".dvc" / "cache")
    shutil.rmtree(ran / ".state", ignore_errors=True)
    for path in chain(*REPLACED.values()):
        path.unlink()
    assert run(ran, "dvc", "pull", "-q").returncode == 0
    assert paths.INT8_PROGRAM.read_bytes() == paths.FP32_PROGRAM.read_bytes(), "DVC notices nothing"
    for command in (["predict", "x.png"], ["predict", "--program", "c", "x.png"], ["draw"], ["report"]):
        done = run(ran, sys.executable, "-m", "armdigits", *command)
        assert done.returncode == 2
        assert re.fullmatch(rf"{command[0]}: \S+: expected MD5 \w+ \(from dvc.lock\), found .*\n", done.stderr)
    for name in ("export", "benchmark"):
        assert run_stage_here(name) == 2
    done = run(ran, "dvc", "repro")
    assert done.returncode != 0
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("preflight: "))
    assert not Path("foreign-code").exists()
    remedy = line.partition("; run: ")[2].removesuffix(" && dvc repro")
    assert run(ran, "sh", "-c", remedy).returncode == 0
    verified = run(ran, sys.executable, "-m", "armdigits", "verify")
    assert "DVC checks no hash of what it pulls from storage; run: dvc remote modify storage verify true" in (
        verified.stdout
    )
    repair = verified.stderr.splitlines()[-1].partition("to repair, run: ")[2]
    assert run(ran, "sh", "-c", repair).returncode == 0
    assert run(ran, sys.executable, "-m", "armdigits", "verify").returncode == 0
    assert not Path("foreign-code").exists()


@pytest.mark.slow
def test_an_empty_object_in_the_cache_fails_preflight_and_the_named_command_helps(ran: Path) -> None:
    content = paths.MODEL.read_bytes()
    md5 = read_lock()["train"][str(paths.MODEL)].md5
    stored = Path(".dvc/cache/files/md5", md5[:2], md5[2:])
    for path in (stored, paths.MODEL):
        path.chmod(0o644)
        path.write_bytes(b"")
    stored.chmod(0o444)
    done = run(ran, "dvc", "repro")
    assert done.returncode != 0
    (line,) = (line for line in done.stderr.splitlines() if line.startswith("preflight: "))
    assert line.startswith(f"preflight: damaged in DVC's cache: {stored}: expected MD5 {md5}, found ")
    done = run(ran, "sh", "-c", line.partition("; run: ")[2])
    assert done.returncode == 0, done.stderr
    assert paths.MODEL.read_bytes() == stored.read_bytes() == content
