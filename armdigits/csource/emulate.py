"""Run a function `void f(const uint8_t *image, float *logits)` that was compiled for another machine, and count.

Unicorn (https://www.unicorn-engine.org, from QEMU) runs ELF programs for Arm and x86-64, Wasmtime
(https://wasmtime.dev) WebAssembly. What is counted is instructions: it does not depend on the machine that counts.
Instructions are not cycles: how many of them a core completes in a cycle, and what its memory costs, is not counted.
"""

import ctypes
import importlib.util
import struct
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from armdigits.csource.elf import WASM_CODE, WASM_DATA, read_elf, wasm_sections

# A hook in Python for each instruction would take a hundred times longer than the instruction.
COUNTER_SOURCE = """#include <stdint.h>
void count(void *engine, uint64_t address, uint32_t size, void *total) {
  (void)engine; (void)address; (void)size;
  ++*(uint64_t *)total;
}
"""
NEEDS = {"wasm32": "wasmtime"}  # every other machine needs unicorn
PAGE = 4096
STACK_BYTES = 1024 * PAGE
IMAGE_BYTES = 64 * PAGE  # the largest image has 3 * 224 * 224
DATA = 0x2000_0000  # the image, a page for the logits, the stack, and two pages to return to
LOGITS, STACK = DATA + IMAGE_BYTES, DATA + IMAGE_BYTES + PAGE
TOP, RETURN = STACK + STACK_BYTES, STACK + STACK_BYTES + PAGE
UNTOUCHED = 0xA5
FUEL = 10**10  # instructions of WebAssembly for one image, more than enough


@dataclass(frozen=True)
class Run:
    """What a machine did.

    Attributes:
        logits: float32 [N, outputs].
        instructions: int64 [N], for each image.
        code, constants, stack: bytes.
        variables: bytes of static data that can change.
    """

    logits: NDArray[np.float32]
    instructions: NDArray[np.int64]
    code: int
    constants: int
    stack: int
    variables: int


def missing(machine: str) -> str | None:
    """The package that this machine needs and that is not installed, or None."""
    package = NEEDS.get(machine, "unicorn")
    return None if importlib.util.find_spec(package) else package


def run(machine: str, content: bytes, images: NDArray[np.uint8], outputs: int, counter: Path) -> Run:
    """Call the entry of a linked program once for each image.

    Args:
        machine: x86_64, aarch64, cortex-a53, cortex-m4, cortex-m0 or wasm32.
        content: an ELF file whose entry is the function, or a module of WebAssembly that exports `digits_logits`.
        images: uint8 [N, bytes of an image].
        outputs: numbers that the function writes.
        counter: the shared library made of `COUNTER_SOURCE`.
    """
    if machine == "wasm32":
        return _run_wasm(content, images, outputs)
    return _run_elf(machine, content, images, outputs, counter)


def _run_elf(machine: str, content: bytes, images: NDArray[np.uint8], outputs: int, counter: Path) -> Run:
    binary = read_elf(content)
    engine, registers, thumb = _engine(machine)
    pages = {page for at, data in binary.segments for page in range(at // PAGE, (at + len(data)) // PAGE + 1)}
    for page in sorted(pages):
        engine.mem_map(page * PAGE, PAGE)
    for address, data in binary.segments:
        engine.mem_write(address, data)
    engine.mem_map(DATA, RETURN + PAGE - DATA)
    engine.mem_write(STACK, bytes([UNTOUCHED]) * (TOP - STACK))
    total, library = ctypes.c_uint64(), ctypes.CDLL(str(counter))
    _count_instructions(engine, library.count, total)

    logits = np.zeros((len(images), outputs), np.float32)
    instructions = np.zeros(len(images), np.int64)
    for position, image in enumerate(images):
        total.value = 0
        engine.mem_write(DATA, image.tobytes())
        top = TOP
        if machine == "x86_64":  # which finds the address to return to on its stack
            top -= 8
            engine.mem_write(top, struct.pack("<Q", RETURN))
        for register, value in zip(registers, (DATA, LOGITS, top, RETURN | thumb), strict=False):
            engine.reg_write(register, value)
        engine.emu_start(binary.entry | thumb, RETURN)
        logits[position] = np.frombuffer(engine.mem_read(LOGITS, 4 * outputs), "<f4")
        instructions[position] = total.value
    stack = _touched(bytes(engine.mem_read(STACK, TOP - STACK)))
    return Run(logits, instructions, binary.code, binary.constants, stack, binary.variables)


def _engine(machine: str) -> tuple[Any, list[int], int]:
    """The emulator, its registers for two arguments, the stack and the return address, and 1 for Thumb code."""
    unicorn: Any = import_module("unicorn")  # its types are incomplete
    arm_const, arm64_const, x86_const = (import_module(f"unicorn.{name}_const") for name in ("arm", "arm64", "x86"))
    if machine == "x86_64":
        engine = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
        return engine, [getattr(x86_const, f"UC_X86_REG_{name}") for name in ("RDI", "RSI", "RSP")], 0
    if machine in ("aarch64", "cortex-a53"):
        engine = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        name = "MAX" if machine == "aarch64" else "A53"  # A53 refuses the instructions that it does not have
        engine.ctl_set_cpu_model(getattr(arm64_const, f"UC_CPU_ARM64_{name}"))
        return engine, [getattr(arm64_const, f"UC_ARM64_REG_{name}") for name in ("X0", "X1", "SP", "X30")], 0
    engine = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    engine.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{machine.upper().replace('-', '_')}"))
    if machine == "cortex-m4":
        engine.reg_write(arm_const.UC_ARM_REG_FPEXC, 1 << 30)  # switches the FPU on
    return engine, [getattr(arm_const, f"UC_ARM_REG_{name}") for name in ("R0", "R1", "SP", "LR")], 1


def _count_instructions(engine: Any, function: Any, total: ctypes.c_uint64) -> None:
    """Let the engine call a C function for each instruction; the Python interface takes Python functions only."""
    import unicorn
    from unicorn.unicorn_py3.unicorn import uclib

    handle, everywhere = ctypes.c_size_t(), (ctypes.c_uint64(1), ctypes.c_uint64(0))
    address = ctypes.cast(function, ctypes.c_void_p)
    kind = unicorn.UC_HOOK_CODE
    if uclib.uc_hook_add(engine._uch, ctypes.byref(handle), kind, address, ctypes.byref(total), *everywhere):
        raise RuntimeError("unicorn refuses the hook")


def _run_wasm(content: bytes, images: NDArray[np.uint8], outputs: int) -> Run:
    import wasmtime

    settings = wasmtime.Config()
    settings.consume_fuel = True  # one unit an instruction
    engine = wasmtime.Engine(settings)
    store = wasmtime.Store(engine)
    store.set_fuel(FUEL)
    exports: Any = wasmtime.Instance(store, wasmtime.Module(engine, content), []).exports(store)
    memory, function, top = exports["memory"], exports["digits_logits"], exports["__stack_pointer"].value(store)
    room = images.shape[1] + 4 * outputs + 16
    image_at = memory.grow(store, -(-room // 65536)) * 65536  # new pages, which the program does not know
    logits_at = image_at + images.shape[1]
    logits_at += -logits_at % 16
    bottom = max(0, top - STACK_BYTES)
    memory.write(store, bytes([UNTOUCHED]) * (top - bottom), bottom)

    logits = np.zeros((len(images), outputs), np.float32)
    instructions = np.zeros(len(images), np.int64)
    for position, image in enumerate(images):
        memory.write(store, image.tobytes(), image_at)
        store.set_fuel(FUEL)
        function(store, image_at, logits_at)
        instructions[position] = FUEL - store.get_fuel()
        logits[position] = np.frombuffer(memory.read(store, logits_at, logits_at + 4 * outputs), "<f4")
    stack = _touched(bytes(memory.read(store, bottom, top)))
    sizes = wasm_sections(content)
    return Run(logits, instructions, sizes.get(WASM_CODE, 0), sizes.get(WASM_DATA, 0), stack, 0)


def _touched(stack: bytes) -> int:
    """The bytes from the lowest that was written to the top."""
    return len(stack.lstrip(bytes([UNTOUCHED])))
