"""Whether a run made the outputs of the commit again, in a Git repository with a lock file and a host."""

import json
from pathlib import Path

import pytest

from armdigits.core import paths
from armdigits.core.errors import BadInput
from armdigits.report.reproduced import compare_with_commit
from tests.helpers import run

VERSIONS = {"python": "3.11.7", "torch": "2.13.0", "executorch": "1.4.1", "torchao": "0.18.0"}
MACHINE = {"cpu": "AMD EPYC", "arch": "x86_64", "features": "avx2", "cores": 2, "system": "Linux"}
HOST = {**MACHINE, **VERSIONS, "bits": "avx2 AuthenticAMD"}


def write(md5s: dict[str, str], **host: str) -> None:
    """A run whose outputs, `stage/path`, have these digits as hashes."""
    stages: dict[str, list[str]] = {}
    for name, digit in md5s.items():
        stage, _, path = name.partition("/")
        stages.setdefault(stage, []).append(f"    - path: {path}\n      md5: {digit * 32}\n")
    Path("dvc.lock").write_text(
        "stages:\n" + "".join(f"  {s}:\n    outs:\n{''.join(o)}" for s, o in stages.items()), "utf-8"
    )
    paths.HOST.parent.mkdir(exist_ok=True)
    paths.HOST.write_text(json.dumps({**HOST, **host}), "utf-8")


def commit(folder: Path) -> None:
    for command in (["init", "-q"], ["add", "."], ["-c", "user.name=a", "-c", "user.email=b", "commit", "-qm", "run"]):
        assert run(folder, "git", *command).returncode == 0


@pytest.fixture
def committed(folder: Path) -> Path:
    """The folder with a committed run of two stages and the benchmark."""
    write({"train/model": "1", "quantize/int8": "2", "benchmark/times": "3"})
    Path("params.yaml").write_text("train: 1", "utf-8")
    commit(folder)
    return folder


def test_equal_outputs_are_reproduced_whatever_the_benchmark_measured(committed):
    write({"train/model": "1", "quantize/int8": "2", "benchmark/times": "9"}, cores=4)
    assert compare_with_commit() == ("reproduced: all 2 outputs are those of the commit, to the bit", False)


def test_another_output_where_the_same_bits_are_promised_is_a_fault(committed):
    write({"train/model": "1", "quantize/int8": "7", "benchmark/times": "3"})
    line, is_broken = compare_with_commit()
    assert line == (
        "not reproduced: 1 of 2 outputs differ from those of the commit: int8; this machine should give the same bits"
    )
    assert is_broken


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ({"bits": "avx2 GenuineIntel"}, "bits avx2 GenuineIntel, there avx2 AuthenticAMD"),
        ({"torch": "2.14.0"}, "torch 2.14.0, there 2.13.0"),
    ],
)
def test_another_output_on_another_cpu_or_with_other_versions_is_expected(committed, host, reason):
    write({"train/model": "4", "quantize/int8": "7", "benchmark/times": "3"}, **host)
    line, is_broken = compare_with_commit()
    assert line == (f"2 of 2 outputs differ from those of the commit: model, int8; as expected, because of {reason}")
    assert not is_broken


@pytest.mark.parametrize("bits", ["native", "avx2 GenuineIntel"])
def test_only_amds_avx2_promises_the_same_bits(folder, bits):
    write({"train/model": "1"}, bits=bits)
    commit(folder)
    write({"train/model": "2"}, bits=bits)
    assert compare_with_commit()[0].endswith(
        f"as expected, because of bits {bits}, which are promised on no other machine"
    )


def test_the_results_of_other_parameters_are_not_compared(committed):
    Path("params.yaml").write_text("train: 2", "utf-8")
    write({"train/model": "4", "quantize/int8": "7"})
    assert compare_with_commit() == ("not compared with the commit, from which params.yaml differs", False)


def test_a_commit_without_results_is_named(folder):
    run(folder, "git", "init", "-q")
    with pytest.raises(BadInput, match="dvc.lock: not in HEAD"):
        compare_with_commit()
