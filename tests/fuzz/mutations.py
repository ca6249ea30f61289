"""Mutations of an input: of its bytes, of the words in a text, and of the JSON inside."""

import json
import random
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

MAX_BYTES = 1_000_000  # of an input
NUMBERS = (0, 1, 127, 128, 255, 256, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
VALUES = (  # JSON, valid or nearly so
    *("null", "true", "0", "-1", "0.5", "1e-320", "1e308", "1e999", "NaN", "-Infinity", str(2**31), str(2**63)),
    *('""', '"0"', '"x"', '"\\u0000"', '"\\ud800"', '"\\u2028"', '"\\u001b[2J"', '"a\\nb"', '"/dev/zero"', '"../x"'),
    *("[]", "{}", "[null]", '{"x":{}}', "[[1,2],[3]]", '{"":[{}]}', "9" * 5000, '"' + "x" * 100_000 + '"'),
    *("[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"x":' * 50_000 + "1" + "}" * 50_000),
)
WORDS = (
    *(value.encode() for value in VALUES),
    *(b"0x" + b"f" * 5000, b"1_0", b"1e400", b"-0", b"'\\UFFFFFFFF'", b'"\\UFFFFFFFF"', b"\xff\xfe", b"\xef\xbb\xbf"),
    *(b"!!python/object/apply:os.system [x]", b"!!binary x", b"!!set {x}", b"? [x]\n: y", b"&a [*a]", b"*a", b"<<: x"),
    b"&a ["
    + b"x," * 20
    + b"]\n"
    + b"".join(b"k%d: &%c [%s]\n" % (n, 98 + n, b"*%c," % (97 + n) * 9) for n in range(9)),
    *(b"\r", b"\r\n", b"\n\n", b"\0", b"\x1b[31m", b"\x85", b"\xe2\x80\xa8", b"\xed\xa0\x80", b",", b'"', b"%s%n{}"),
    *(
        b"gzip",
        b"deflate",
        b"chunked",
        b"301",
        b"204",
        b"500",
        b"Content-Encoding: gzip",
        b"Location: file:///dev/zero",
    ),
    *(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"GRIB"),
)
WORD = re.compile(rb"[\w.+-]+")
Mutation = Callable[[bytes, list[bytes], random.Random], bytes]


def mutated(content: bytes, seeds: list[bytes], chance: random.Random, placed: bool) -> bytes:
    """A few mutations, one after the other. Where an input is `placed`, the path before its bytes mostly stays."""
    head, line, body = content.partition(b"\n") if placed else (b"", b"", content)
    if placed and chance.random() < 0.05:
        return changed(head, seeds, chance).replace(b"\n", b"") + line + body
    if placed:
        seeds = [seed.partition(b"\n")[2] for seed in seeds]
    body = in_json(body, seeds, chance) if chance.random() < 0.5 else body
    return head + line + changed(body, seeds, chance)[:MAX_BYTES]


def changed(content: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    """None to four mutations of the bytes."""
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        content = chance.choice(MUTATIONS)(content, seeds, chance)
    return with_checksums(content) if chance.random() < 0.7 else content


def flipped(content: bytes, _seeds: list[bytes], chance: random.Random) -> bytes:
    """Some bits, near each other more often than not."""
    damaged, at = bytearray(content), chance.randrange(len(content) or 1)
    for _ in range(chance.choice((1, 1, 2, 8))):
        where = min(at + chance.randrange(16), len(content) - 1)
        if damaged:
            damaged[where] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def truncated(content: bytes, _seeds: list[bytes], chance: random.Random) -> bytes:
    """Without its end."""
    return content[: chance.randrange(len(content) + 1)]


def numbered(content: bytes, _seeds: list[bytes], chance: random.Random) -> bytes:
    """A number of 1 to 8 bytes at or near the limits of its type, in the first bytes in half of the cases."""
    size, order = chance.choice((1, 2, 4, 8)), chance.choice(("little", "big"))
    number = chance.choice(NUMBERS) % 256**size
    at = chance.randrange(min(len(content), chance.choice((100, MAX_BYTES))) + 1)
    return content[:at] + number.to_bytes(size, order) + content[at + size :]


def repeated(content: bytes, _seeds: list[bytes], chance: random.Random) -> bytes:
    """A block many times."""
    start, end = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    return content[:end] + content[start:end] * chance.choice((1, 3, 50)) + content[end:]


def spliced(content: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    """The begin of this, the end of another."""
    other = chance.choice(seeds)
    return content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other) + 1) :]


def worded(content: bytes, _seeds: list[bytes], chance: random.Random) -> bytes:
    """Another word in the place of one, or inserted."""
    found = [match.span() for match in WORD.finditer(content[:10_000])]
    at = chance.randrange(len(content) + 1)
    start, end = chance.choice(found) if found and chance.random() < 0.7 else (at, at)
    return content[:start] + chance.choice(WORDS) + content[end:]


MUTATIONS: tuple[Mutation, ...] = (flipped, truncated, numbered, repeated, spliced, worded)


def in_json(content: bytes, seeds: list[bytes], chance: random.Random) -> bytes:
    """Another value somewhere in a JSON text, or in the JSON header of a safetensors file, whose length is renewed."""
    size = int.from_bytes(content[:8], "little")
    if 8 < size <= len(content) - 8:
        header = in_json(content[8 : 8 + size], seeds, chance)
        return struct.pack("<Q", len(header)) + header + content[8 + size :]
    try:
        document = json.loads(content)
        text = json.dumps(_with_gap([document], chance)[0])
    except (ValueError, RecursionError):
        return content
    value = chance.choice(VALUES)
    return text.replace(GAP, value).replace(json.dumps(GAP)[1:-1], json.dumps(value)[1:-1]).encode()


GAP = '"@"'


def _with_gap(node: Any, chance: random.Random) -> Any:
    """Put a gap into a list or dictionary somewhere below, or remove an entry, also in JSON within a string."""
    keys = list(node) if isinstance(node, dict) else range(len(node))
    key = chance.choice(keys)
    below = node[key]
    if isinstance(below, str) and below.startswith('{"'):
        node[key] = json.dumps(_with_gap(json.loads(below), chance))
    elif isinstance(below, dict | list) and below and chance.random() < 0.9:
        _with_gap(below, chance)
    elif isinstance(node, dict) and chance.random() < 0.2:
        node[chance.choice(("x", "", "a\nb"))] = node.pop(key)
    else:
        node[key] = "@"
    return node


def with_checksums(content: bytes) -> bytes:
    """A PNG file with the checksums of its chunks renewed, so that more than the first of them is read."""
    if not content.startswith(b"\x89PNG"):
        return content
    fixed, at = bytearray(content), 8
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4])
        fixed[end : end + 4] = zlib.crc32(fixed[at + 4 : end]).to_bytes(4)
        at = end + 4
    return bytes(fixed)
