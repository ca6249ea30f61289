"""The C source: bit-equal to the reference with several compilers and options, and refused where it cannot be."""

import ctypes
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from armdigits.core.errors import BadInput
from armdigits.core.shape import MNIST, Shape
from armdigits.csource import binding, emulate, targets, toolchain
from armdigits.csource.generate import About, multiplications, sources, stack_bytes
from armdigits.program import reference
from armdigits.program.contents import Activation, Contents, Convolution, MaxPool, Window
from tests.program.networks import PIXEL, colourful, contents, convolutional, halves, linear, network, pictures

ABOUT = About("folder shapes", MNIST, "ink", ("a circle", "a cross"), "98 % of 10 test images", "ab" * 32)
COLOUR: Shape = (3, 24, 40)
NETWORK, CONVOLUTIONAL = network(784, 96, 256, 10), convolutional()
COMPILERS = {"zig": [sys.executable, "-m", "ziglang", "cc", *toolchain.HERE], "gcc": ["gcc"], "clang": ["clang"]}
FUSED = ["-O3", "-march=native", "-ffp-contract=fast"]
OPTIONS = [["-O0"], ["-O1"], ["-O2"], ["-O3"], ["-Os"], ["-O3", "-funroll-loops", "-flto"], FUSED, ["-O0", *FUSED[1:]]]
SVE = ["aarch64-linux-gnu-gcc", "-static", "-march=armv8-a+sve"]
FILTER = """#include <stdio.h>
#include "digits.h"
int main(void) {
  uint8_t image[DIGITS_VALUES];
  float logits[DIGITS_CLASSES];
  while (fread(image, 1, sizeof image, stdin) == sizeof image) {
    digits_logits(image, logits);
    fwrite(logits, 1, sizeof logits, stdout);
  }
}
"""
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wno-unknown-pragmas", "-Werror"]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("c")
    toolchain.write(sources(NETWORK, ABOUT), folder)
    return folder


def compiled_logits(
    source: dict[str, str], folder: Path, images: np.ndarray, command: Sequence[str]
) -> list[np.ndarray]:
    """The logits of both entries, compiled with that command."""
    toolchain.write(source, folder)
    subprocess.run([*command, "-shared", "-fPIC", "digits.c", "-o", "digits.so"], cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "digits.so"))
    outputs = int(re.search(r"DIGITS_CLASSES (\d+)", source["digits.h"])[1])
    flat = images.reshape(len(images), -1)
    results = []
    for name, inputs in (
        ("digits_logits", flat),
        ("digits_logits_float", flat.astype(np.float32) / np.float32(255)),
    ):
        logits = np.zeros((len(images), outputs), np.float32)
        for image, out in zip(inputs, logits, strict=True):
            getattr(library, name)(ctypes.c_void_p(image.ctypes.data), ctypes.c_void_p(out.ctypes.data))
        results.append(logits)
    return results


def expected(program: Contents, images: np.ndarray) -> np.ndarray:
    return reference.reference_logits(program, images.reshape(-1, 1, 28, 28))


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize(
    "options",
    [
        OPTIONS[0],
        FUSED,
        *(pytest.param(o, marks=pytest.mark.slow) for o in OPTIONS[1:-2]),
        pytest.param(OPTIONS[-1], marks=pytest.mark.slow),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize(
    "program",
    [NETWORK, CONVOLUTIONAL, pytest.param(halves(200), marks=pytest.mark.slow)],
    ids=["network", "convolutional", "halves"],
)
def test_both_entries_equal_the_reference_to_the_bit(
    tmp_path: Path, compiler: str, options: list[str], program: Contents
) -> None:
    if compiler != "zig" and not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    images = pictures(60)
    command = [*COMPILERS[compiler], *STRICT, *options]
    for logits in compiled_logits(sources(program, ABOUT), tmp_path, images, command):
        np.testing.assert_array_equal(logits.view(np.int32), expected(program, images).view(np.int32))


@pytest.mark.parametrize(
    "name",
    [
        "aarch64_dotprod",
        "cortex_m4",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("x86_64", "aarch64", "cortex_m0plus", "wasm32")),
    ],
)
def test_targets_with_fused_multiply_add_round_as_the_reference(tmp_path: Path, name: str) -> None:
    toolchain.write({"counter.c": emulate.COUNTER_SOURCE}, tmp_path)
    counter = tmp_path / "counter.so"
    toolchain.compile_files([tmp_path / "counter.c"], counter, binding.SHARED)
    target = toolchain.TARGETS[name]
    target = replace(target, flags=(*target.flags, "-ffp-contract=fast"))
    program, images = halves(200), pictures(4)
    content = toolchain.compile_target(sources(program, ABOUT), target)
    done = emulate.run(target.machine, content, images.reshape(4, -1), 200, counter)
    np.testing.assert_array_equal(done.logits.view(np.int32), expected(program, images).view(np.int32))


@pytest.mark.parametrize("program", [network(3 * 24 * 40, 30, 10), colourful()], ids=["network", "convolutional"])
def test_images_in_colour_that_are_not_square_give_the_reference_on_every_target(program: Contents) -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, *COLOUR)).astype(np.uint8)
    source = sources(program, replace(ABOUT, shape=COLOUR, reading="photo"))
    assert "24x40 pixels in colour" in source["digits.c"]
    runs, _ = targets.run_everywhere(source, images, reference.reference_logits(program, images), emulated=2)
    assert {name for name, result in runs.items() if result.equal != result.compared} == set()


@pytest.mark.skipif(
    not (shutil.which(SVE[0]) and shutil.which("qemu-aarch64-static")), reason="no gcc or no emulator for aarch64 here"
)
@pytest.mark.parametrize("option", ["-O2", "-O3"])
@pytest.mark.parametrize("program", [NETWORK, CONVOLUTIONAL], ids=["network", "convolutional"])
def test_gcc_for_vectors_of_any_length_gives_the_reference(tmp_path: Path, program: Contents, option: str) -> None:
    images = pictures(20)
    toolchain.write({**sources(program, ABOUT), "main.c": FILTER}, tmp_path)
    subprocess.run([*SVE, *STRICT, option, "digits.c", "main.c", "-o", "main"], cwd=tmp_path, check=True)
    for length in (1, 2, 16):  # times 128 bits
        command = ["qemu-aarch64-static", "-cpu", f"max,sve-max-vq={length}", "./main"]
        output = subprocess.run(command, cwd=tmp_path, input=images.tobytes(), capture_output=True, check=True).stdout
        assert output == expected(program, images).astype("<f4").tobytes(), f"{128 * length} bits"


def test_a_compiler_that_fused_the_rounding_would_be_noticed(tmp_path: Path) -> None:
    """The sums of `halves` tell the two roundings apart: here one without its clamp, in exact arithmetic."""
    program = halves(200)
    (layer,) = reference.quantized_layers(program)
    exact = np.rint(layer.bias.astype(np.float64) * layer.factor.astype(np.float64))
    rounded = expected(program, np.zeros((1, 28, 28), np.uint8))[0] / layer.output.scale
    assert np.abs(exact - rounded).min() > 0.9


def test_pixels_that_calibration_has_not_seen_are_clamped(tmp_path: Path) -> None:
    program = network(784, 96, 10, pixel=Activation(np.float32(200 / 255 / 255), -128))
    images = pictures(20)
    source = sources(program, ABOUT)
    assert "level[image[i]]" in source["digits.c"]
    for logits in compiled_logits(source, tmp_path, images, [*COMPILERS["zig"], *STRICT, "-O2"]):
        np.testing.assert_array_equal(logits, expected(program, images))


def test_a_pixel_that_is_no_number_counts_as_background(tmp_path: Path) -> None:
    toolchain.write(sources(NETWORK, ABOUT), tmp_path)
    subprocess.run([*COMPILERS["zig"], "-O2", "-shared", "-fPIC", "digits.c", "-o", "d.so"], cwd=tmp_path, check=True)
    images, logits = np.zeros((2, 784), np.float32), np.zeros((2, 10), np.float32)
    images[0] = np.nan
    for image, out in zip(images, logits, strict=True):
        ctypes.CDLL(str(tmp_path / "d.so")).digits_logits_float(*(ctypes.c_void_p(a.ctypes.data) for a in (image, out)))
    np.testing.assert_array_equal(*logits)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("-D__FAST_MATH__", "without -ffast-math"),
        ("-D__FLT_EVAL_METHOD__=2", "computed as float"),
        ("--target=msp430-freestanding", "int must have at least 32 bits"),
    ],
)
def test_arithmetic_that_the_source_cannot_use_is_an_error_at_compile_time(
    written: Path, option: str, message: str
) -> None:
    command = [*COMPILERS["zig"], "-w", option, "-fsyntax-only", "digits.c"]
    done = subprocess.run(command, cwd=written, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode != 0
    assert message in done.stderr


def test_the_header_can_be_used_from_cpp(written: Path) -> None:
    (written / "main.cpp").write_text(
        '#include "digits.h"\nint main() { static const uint8_t image[784] = {}; return digits_predict(image); }\n',
        "utf-8",
    )
    zig = COMPILERS["zig"]
    subprocess.run([*zig, "-std=c99", "-O2", "-c", "digits.c", "-o", "digits.o"], cwd=written, check=True)
    cpp = ["c++" if part == "cc" else part for part in zig]
    cpp += ["-std=c++11", "-Wall", "-Werror", "main.cpp", "digits.o", "-o", "main"]
    subprocess.run(cpp, cwd=written, check=True)
    digit = int(expected(NETWORK, np.zeros((1, 28, 28), np.uint8)).argmax())
    assert subprocess.run(["./main"], cwd=written, check=False).returncode == digit


def test_what_is_compiled_for_this_machine_takes_no_header_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "x.c").write_text("#include <errno.h>\n", "utf-8")
    done = subprocess.run([*COMPILERS["zig"], "-M", "x.c"], cwd=tmp_path, capture_output=True, check=True)
    headers = [word for word in done.stdout.decode().split() if word.endswith(".h")]
    assert headers
    assert all("ziglang" in header for header in headers)


def test_the_source_needs_no_library_no_heap_and_no_static_variables(written: Path) -> None:
    code = (written / "digits.c").read_text("utf-8")
    includes = re.findall(r"#include [<\"]([\w.]+)", code + (written / "digits.h").read_text("utf-8"))
    assert set(includes) == {"digits.h", "float.h", "limits.h", "stdint.h"}
    assert not re.search(r"\b(malloc|free|memcpy|memset)\b", code)
    assert all("const" in line or "(" in line for line in code.splitlines() if line.startswith("static"))


def test_the_head_says_data_accuracy_weights_and_licence(written: Path) -> None:
    head = (written / "digits.c").read_text("utf-8")[:1500]
    for text in ("2 classes; trained on folder shapes", ABOUT.accuracy, ABOUT.weights_sha256, "784-96-256-10"):
        assert text in head
    assert "SPDX-License-Identifier: MIT" in head


def test_the_header_names_the_classes_in_the_order_of_the_logits(written: Path) -> None:
    header = (written / "digits.h").read_text("utf-8")
    assert "Classes, in the order of the logits:\n   a circle, a cross\n" in header
    assert "digit " not in header.lower()


def test_lines_are_at_most_120_columns_wide() -> None:
    about = replace(ABOUT, dataset="folder " + "words " * 40, classes=tuple(f"class {number}" for number in range(100)))
    for name, text in sources(NETWORK, about).items():
        assert max(map(len, text.splitlines())) <= 120, name


def test_the_head_says_how_much_stack_a_program_needs() -> None:
    for program in (NETWORK, CONVOLUTIONAL):
        head = sources(program, ABOUT)["digits.c"][:1500]
        assert f"less than {stack_bytes(program, MNIST) // 1024} kB of stack" in head
    assert stack_bytes(NETWORK, MNIST) == 4096
    assert "28x28x1-7x8x4-7x8x8-3x4x6-20-10" in head


def test_multiplications_are_counted_with_the_windows_of_convolutions() -> None:
    assert multiplications(NETWORK, MNIST) == 784 * 96 + 96 * 256 + 256 * 10
    first, second, third = 14 * 24 * 4 * 15, 7 * 8 * 8 * 4 * 9, 6 * 8 * 6 * 8 * 6
    assert multiplications(CONVOLUTIONAL, MNIST) == first + second + third + 72 * 20 + 20 * 10


def wide() -> Contents:
    """A network with two layers of 50 channels of images in full size, 224x224."""
    random, window = np.random.default_rng(0), Window((1, 1), (1, 1), (0, 0))
    first = linear(random, (50, 1, 1, 1), PIXEL)
    second = linear(random, (50, 50, 1, 1), first.output)
    third = linear(random, (50, 50, 1, 1), second.output)
    convolutions = (Convolution(**vars(layer), window=window, groups=1) for layer in (first, second, third))
    pool = MaxPool(Window((224, 224), (224, 224), (0, 0)))
    return contents((*convolutions, pool, linear(random, (10, 50), third.output, relu=False)))


def changed(**changes: object) -> Contents:
    """The network with a changed first layer."""
    first, *others = NETWORK.layers
    return replace(NETWORK, layers=(replace(first, **changes), *others))


REFUSED = {
    "another node": (replace(NETWORK, nodes=(*NETWORK.nodes, "XNNAdd")), "between two conversions, found .*XNNAdd"),
    "no layers": (replace(NETWORK, layers=(), nodes=("XNNConvert", "XNNConvert")), "expected layers between two"),
    "float activations": (changed(input=None), "layer 0: expected int8 weights and activations"),
    "signed input": (changed(input=Activation(PIXEL.scale, 0)), "layer 0: expected an input with zero point -128"),
    "no ReLU": (changed(relu=False), "layer 0: expected a ReLU after each layer but the last"),
    "another output": (changed(output=Activation(np.float32(3), -128)), "the output of the one before it"),
    "large sums": (
        changed(bias=replace(NETWORK.layers[0].bias, stored=np.full(96, 2**31 - 1, np.int32))),
        "layer 0: its sums do not fit into 32 bits",
    ),
    "other images": (network(100, 96, 10), "expected 784 inputs, found 100"),
    "overlapping pooling": (
        replace(
            CONVOLUTIONAL,
            layers=(CONVOLUTIONAL.layers[0], MaxPool(Window((3, 3), (2, 2), (0, 0))), *CONVOLUTIONAL.layers[2:]),
        ),
        "pooling of 3x3 stride 2x2; expected a stride of its size",
    ),
    "pooling of images": (replace(CONVOLUTIONAL, layers=CONVOLUTIONAL.layers[1:]), "after a convolution"),
    "other channels": (
        replace(CONVOLUTIONAL, layers=(CONVOLUTIONAL.layers[0], *CONVOLUTIONAL.layers[3:])),
        "the output of the one before it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_program_that_the_source_cannot_express_is_refused_in_one_line(case: str) -> None:
    program, message = REFUSED[case]
    with pytest.raises(BadInput, match=message) as caught:
        sources(program, ABOUT)
    assert "\n" not in str(caught.value)


def test_layers_that_need_more_stack_than_the_emulators_have_are_refused_in_one_line() -> None:
    with pytest.raises(BadInput, match=r"^C source: the layers need 5,\d+,\d+ bytes of stack, more than 4,194,304$"):
        sources(wide(), replace(ABOUT, shape=(1, 224, 224)))


@pytest.mark.skipif(not shutil.which("cmake") or not shutil.which("cc"), reason="no cmake or no compiler here")
def test_the_example_builds_with_cmake_and_reads_a_picture(written: Path) -> None:
    for command in (["cmake", "-B", "build"], ["cmake", "--build", "build"]):
        done = subprocess.run(command, cwd=written, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    image = pictures(10)[5]
    (written / "7.pgm").write_bytes(b"P5\n# a comment\n28 28\n255\n" + image.tobytes())
    done = subprocess.run(["./build/digits", "7.pgm"], cwd=written, capture_output=True, text=True, check=True)
    digit, *rows = done.stdout.splitlines()
    logits = expected(NETWORK, image[None])[0].astype(np.float64)
    shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    assert int(digit) == logits.argmax()
    assert rows == [f"{number}  {100 * share:5.1f} %" for number, share in enumerate(shares)]
    for content in (b"", b"P5\n28 27\n255\n", b"P5\n28 28\n255\n123"):
        (written / "bad.pgm").write_bytes(content)
        assert subprocess.run(["./build/digits", "bad.pgm"], cwd=written, check=False).returncode == 2
