"""Two machines for real: two network namespaces with addresses of their own, a rank in each, and a link that is cut."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from armdigits.ranks import TIMEOUT
from tests.conftest import copy_project, set_parameters
from tests.test_ranks import AGAIN, OUTS, contents, ended, write_data

ADDRESSES = ("10.77.0.1", "10.77.0.2")
EPOCHS = 60


def ip(command: str, check: bool = True) -> None:
    subprocess.run(["ip", *command.split()], capture_output=True, check=check)


def problem() -> str:
    """Why there can be no network namespaces here; nothing when there can."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need the program ip (iproute2)"
    try:
        ip(f"netns add probe-{os.getpid()}")
        ip(f"netns delete probe-{os.getpid()}")
    except subprocess.CalledProcessError as error:
        return f"no network namespaces here: {error.stderr.decode().strip()}"
    return ""


REASON = problem()
pytestmark = pytest.mark.skipif(bool(REASON), reason=REASON)


class Host:
    """A machine: a network namespace and a project folder."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.space, self.device = f"host{number}-{os.getpid()}", f"eth{number}"
        self.project = copy_project(folder / self.space)
        set_parameters(
            self.project,
            {
                "train.processes": "2",
                "train.epochs": str(EPOCHS),
                "train.teacher_weight": "0",
                "train.temperature": "1",
            },
        )
        write_data(self.project, seed=1)

    def start(self, *starter: str) -> subprocess.Popen:
        """Start this machine's part of the training, with the options that README.md names."""
        options = [f"--node-rank={self.number}", f"--master-addr={ADDRESSES[0]}", "--master-port=29500"]
        return subprocess.Popen(
            ["ip", "netns", "exec", self.space, sys.executable, *starter[:2], "--nnodes=2", *options, *starter[2:]],
            cwd=self.project,
            env={**os.environ, "GLOO_SOCKET_IFNAME": self.device, "TMPDIR": str(self.project)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


TORCHRUN = ("-m", "torch.distributed.run", "-m", "stages.train")
STAGE = ("-m", "stages.train")


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    hosts = [Host(number, tmp_path) for number in range(2)]
    first, second = hosts
    for host in hosts:
        ip(f"netns add {host.space}")
    try:
        ip(f"link add {first.device} netns {first.space} type veth peer name {second.device} netns {second.space}")
        for host, address in zip(hosts, ADDRESSES, strict=True):
            ip(f"-n {host.space} address add {address}/24 dev {host.device}")
            ip(f"-n {host.space} link set {host.device} up")
            ip(f"-n {host.space} link set lo up")
        yield hosts
    finally:
        for host in hosts:
            ip(f"netns delete {host.space}", check=False)


def test_a_cut_link_ends_both_and_when_it_is_back_they_go_on_to_the_same_bytes(hosts):
    first, second = hosts
    for code, _, errors in ended([host.start(*TORCHRUN) for host in hosts]):
        assert code == 0, errors
    expected = contents(first.project)
    assert not any((second.project / name).exists() for name in OUTS), "rank 0 alone writes"
    for name in OUTS:
        (first.project / name).unlink()

    processes = [host.start(*STAGE) for host in hosts]
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.callback(process.kill)
        assert any(line.startswith("epoch  2/") for line in processes[0].stdout)
        ip(f"-n {second.space} link set {second.device} down")
        for number, (code, _, errors) in enumerate(ended(processes)):
            assert code == 1
            name = ("train", "train, rank 1")[number]
            silence = f"Timed out waiting {TIMEOUT.seconds}000ms"
            gone = name + rf": another rank is gone or cannot be reached \({silence}.*\); " + AGAIN
            assert re.fullmatch(gone, errors.strip()), errors
    assert not any((first.project / name).exists() for name in OUTS)

    ip(f"-n {second.space} link set {second.device} up")
    (code, out, errors), (code_of_1, out_of_1, errors_of_1) = ended([host.start(*STAGE) for host in hosts])
    assert (code, errors, code_of_1, out_of_1, errors_of_1) == (0, "", 0, "", "")
    assert re.search(r"going on after epoch [1-9]", out)
    assert contents(first.project) == expected
