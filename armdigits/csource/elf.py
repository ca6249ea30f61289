"""The parts of a linked program that a bare machine needs: ELF files (System V ABI), and sections of WebAssembly."""

import struct
from dataclasses import dataclass

LOAD, ALLOCATED, WRITABLE, EXECUTABLE = 1, 2, 1, 4  # PT_LOAD, SHF_ALLOC, SHF_WRITE, SHF_EXECINSTR
WASM_CODE, WASM_DATA = 10, 11


@dataclass(frozen=True)
class Binary:
    """A linked program.

    Attributes:
        entry: address of its first instruction.
        segments: (address, content) of what is loaded.
        code, constants, variables: bytes of instructions, of read-only data, of data that can change.
    """

    entry: int
    segments: tuple[tuple[int, bytes], ...]
    code: int
    constants: int
    variables: int


def read_elf(content: bytes) -> Binary:
    """Decode a little-endian ELF file of 32 or 64 bits."""
    if content[4] == 2:
        header, heads, segment, section = "<QQQ", 52, "<IIQQQQQQ", "<IIQQQQIIQQ"
    else:
        header, heads, segment, section = "<III", 40, "<IIIIIIII", "<IIIIIIIIII"
    entry, segments_at, sections_at = struct.unpack_from(header, content, 24)
    _, segment_size, segment_count, section_size, section_count, _ = struct.unpack_from("<HHHHHH", content, heads)
    segments = []
    for position in range(segment_count):
        fields = struct.unpack_from(segment, content, segments_at + position * segment_size)
        kind, (start, address, _, size) = fields[0], fields[2:6] if content[4] == 2 else fields[1:5]
        if kind == LOAD:
            segments.append((address, content[start : start + size]))
    sizes = {"code": 0, "constants": 0, "variables": 0}
    for position in range(section_count):
        _, _, flags, _, _, size, *_ = struct.unpack_from(section, content, sections_at + position * section_size)
        if flags & ALLOCATED:
            name = "code" if flags & EXECUTABLE else "variables" if flags & WRITABLE else "constants"
            sizes[name] += size
    return Binary(entry, tuple(segments), **sizes)


def wasm_sections(content: bytes) -> dict[int, int]:
    """The bytes of each section of a WebAssembly module by its number."""
    sizes: dict[int, int] = {}
    position = 8
    while position < len(content):
        number, position, size, shift = content[position], position + 1, 0, 0
        while True:  # LEB128: seven bits a byte
            byte, position = content[position], position + 1
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        sizes[number] = sizes.get(number, 0) + size
        position += size
    return sizes
