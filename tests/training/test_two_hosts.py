"""Two hosts: network namespaces with their own addresses, a rank in each, and a link that is cut."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from armdigits.training.processes import RESUME, TIMEOUT
from tests.training.ranks import LAUNCH, OUTS, contents, ended, make_project

ADDRESSES = ("10.77.0.1", "10.77.0.2")


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
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(REASON), reason=REASON)]


class Host:
    """A network namespace and a project folder."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.name, self.device = f"host{number}-{os.getpid()}", f"eth{number}"
        self.project = make_project(folder / self.name)

    def start(self, *launcher: str) -> subprocess.Popen[str]:
        """Start the rank of this host, with the options in docs/more-machines.md."""
        options = [f"--node-rank={self.number}", f"--master-addr={ADDRESSES[0]}", "--master-port=29500"]
        return subprocess.Popen(
            ["ip", "netns", "exec", self.name, sys.executable, *launcher, "--nnodes=2", *options, "-m", "stages.train"],
            cwd=self.project,
            env={**os.environ, "GLOO_SOCKET_IFNAME": self.device, "TMPDIR": str(self.project)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


TORCHRUN = ("-m", "torch.distributed.run")


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    hosts = [Host(number, tmp_path) for number in range(2)]
    first, second = hosts
    for host in hosts:
        ip(f"netns add {host.name}")
    try:
        ip(f"link add {first.device} netns {first.name} type veth peer name {second.device} netns {second.name}")
        for host, address in zip(hosts, ADDRESSES, strict=True):
            ip(f"-n {host.name} address add {address}/24 dev {host.device}")
            ip(f"-n {host.name} link set {host.device} up")
            ip(f"-n {host.name} link set lo up")
        yield hosts
    finally:
        for host in hosts:
            ip(f"netns delete {host.name}", check=False)


def test_a_cut_link_ends_both_and_the_next_run_ends_with_the_same_bytes(hosts):
    first, second = hosts
    for code, _, errors in ended([host.start(*TORCHRUN) for host in hosts]):
        assert code == 0, errors
    expected = contents(first.project)
    assert not any((second.project / name).exists() for name in OUTS), "only rank 0 writes"
    for name in OUTS:
        (first.project / name).unlink()

    processes = [host.start(*LAUNCH) for host in hosts]
    with contextlib.ExitStack() as stack:
        for process in processes:
            stack.callback(process.kill)
        assert any(line.startswith("epoch  2/") for line in processes[0].stdout)
        ip(f"-n {second.name} link set {second.device} down")
        for number, (code, _, errors) in enumerate(ended(processes)):
            assert code == 1
            name = ("train", "train, rank 1")[number]
            silence = f"Timed out waiting {TIMEOUT.seconds}000ms"
            gone = name + rf": another rank is gone or cannot be reached \({silence}.*\); " + RESUME
            assert re.fullmatch(gone, errors.strip()), errors
    assert not any((first.project / name).exists() for name in OUTS)

    ip(f"-n {second.name} link set {second.device} up")
    (code, out, errors), (code_of_1, out_of_1, errors_of_1) = ended([host.start(*LAUNCH) for host in hosts])
    assert (code, errors, code_of_1, out_of_1, errors_of_1) == (0, "", 0, "", "")
    assert re.search(r"resuming after epoch [1-9]", out)
    assert contents(first.project) == expected
