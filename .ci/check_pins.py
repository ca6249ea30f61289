"""Check that each pin in constraints.txt has a wheel for every Python and platform that the project names.

    python .ci/check_pins.py           with the pip of this Python, 26 or newer; it needs the network, and minutes

Prints a line for each Python and platform, with the packages that have no wheel. Fails when one of them is not among
those that are known to do without (KNOWN). Nothing is installed; only descriptions are downloaded.
"""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

PINS = Path(__file__).parent.parent / "constraints.txt"
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    "Linux x86-64": [f"manylinux_2_{minor}_x86_64" for minor in range(5, 29)] + ["manylinux2014_x86_64"],
    "Linux aarch64": [f"manylinux_2_{minor}_aarch64" for minor in range(17, 29)] + ["manylinux2014_aarch64"],
    "macOS arm64": ["macosx_14_0_arm64"],  # pip adds the older ones
}
KNOWN = {
    "antlr4-python3-runtime",  # pure Python, which pip builds from its source archive
    "coremltools",  # has no wheel for some; pip builds it without its compiled part, and nothing here imports it
    "openvino",  # for `make peers` only: its wheels for aarch64 ask for glibc 2.31, all others for 2.28 at most
    "tract",  # for `make peers` only, which leaves it out on aarch64
}
AT_ONCE = 4  # pip waits for the index most of the time
CUDA = re.compile("nvidia-|cuda-|triton$")  # of torch on Linux, where it does not come from the index of CPU builds
MISSING = re.compile(r"No matching distribution found for ([\w.-]+)==")


def pins(path: Path) -> dict[str, str]:
    """Name -> version of each pin in a constraints file."""
    lines = (line.partition("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    return dict(line.split("==") for line in lines if line)


def without_wheel(wanted: dict[str, str], python: str, tags: list[str]) -> list[str]:
    """The packages of `wanted` that have no wheel for this Python and these platform tags.

    pip stops at the first one, so it is asked again without it.
    """
    missing: list[str] = []
    options = [part for tag in tags for part in ("--platform", tag)]
    while len(missing) < len(wanted):
        names = [f"{name}=={version}" for name, version in wanted.items() if name not in missing]
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--ignore-installed"]
        command += ["--only-binary=:all:", "--python-version", python, *options, "--target", "unused", *names]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode == 0:
            break
        found = MISSING.search(done.stderr)
        if not found or found[1] in missing:
            sys.exit(f"check_pins: pip: {done.stderr.strip()}")
        missing.append(found[1])
    return missing


def check(platform: str, python: str) -> tuple[str, bool]:
    """The line for one Python on one platform, and whether a package is missing that should not be."""
    wanted = {name: pin for name, pin in pins(PINS).items() if "Linux" in platform or not CUDA.match(name)}
    known = {name: pin for name, pin in wanted.items() if name in KNOWN}
    others = {name: pin for name, pin in wanted.items() if name not in KNOWN}
    # Each missing package costs another question for all, so those that may be missing are asked for alone.
    unknown, missing = (without_wheel(part, python, PLATFORMS[platform]) for part in (others, known))
    missing += unknown
    line = f"{platform}, Python {python}: {len(wanted) - len(missing)} wheels; no wheel: {', '.join(missing) or 'none'}"
    return line + (" FAILED" if unknown else ""), bool(unknown)


def main() -> None:
    """Check every Python on every platform; exit code 1 when a package is missing."""
    failed = False
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for line, missing in pool.map(lambda both: check(*both), product(PLATFORMS, PYTHONS)):
            print(line, flush=True)
            failed |= missing
    sys.exit(failed)


if __name__ == "__main__":
    main()
