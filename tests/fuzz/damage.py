"""Damage: bytes changed as a disk, a copy or an editor does."""

from __future__ import annotations

import random

DEEP, LONG = 200_000, 300_000
SIGNS = b"{}[]\",:0-9e.n\\\xff\0(|\n\r\t'"


def damage(content: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Bytes changed at a drawn place."""
    if not content:
        return "a byte", b"\0"
    place, size = rng.randrange(len(content)), rng.choice((1, 2, 8, 20, 200))
    some = content[place : place + size]
    match rng.randrange(9):
        case 0 | 1:
            changed = bytes([content[place] ^ 1 << rng.randrange(8)])
            return f"bit at {place}", content[:place] + changed + content[place + 1 :]
        case 2:
            return f"byte at {place}", content[:place] + bytes([rng.choice(SIGNS)]) + content[
                place + 1 :
            ]
        case 3:
            return f"cut at {place}", content[:place]
        case 4:
            return f"{size} twice at {place}", content[:place] + some + content[place:]
        case 5:
            return f"{size} gone at {place}", content[:place] + content[place + size :]
        case 6:
            zeros = bytes(len(some)) if rng.random() < 0.5 else rng.randbytes(len(some))
            return f"{size} other at {place}", content[:place] + zeros + content[place + size :]
        case 7:
            more = rng.choice((b"\0", b"\n", b"x" * LONG, bytes(4096), b"\xff\xfe"))
            return f"{len(more)} more at the end", content + more
        case _:
            block = rng.choice((b"", b"[" * DEEP, b'{"a":' * DEEP, b"null", b"[]", b"5", b"\xff"))
            return f"replaced by {block[:8]!r}", block
