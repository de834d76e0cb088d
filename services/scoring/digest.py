"""One number that stands for everything stored of a score, so that one that comes out as it was is known for it."""

from __future__ import annotations

import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Blocks this long stay in the processor's cache.
_BLOCK: Final = 2048
_MIX: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_AGAIN: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_HALF: Final = np.uint64(32)

Words = NDArray[np.uint64]


def words_of(column: NDArray[Any]) -> Words:
    """A column or matrix of n rows as (n, k) words of 64 bits, in native byte order."""
    native = np.ascontiguousarray(column, dtype=column.dtype.newbyteorder("="))
    rows = native.reshape(len(native), -1)
    spare = -(rows.shape[1] * rows.dtype.itemsize) % 8
    if spare:
        padding = np.zeros((len(rows), spare), dtype=np.uint8)
        rows = np.concatenate((rows.view(np.uint8).reshape(len(rows), -1), padding), axis=1)
    return rows.view(np.uint64).reshape(len(rows), -1)


def digests(columns: list[NDArray[Any]], salt: str) -> NDArray[np.int64]:
    """The digest (n,) of each row of `columns`, never 0. Equal rows have equal ones; two different rows have the same
    one by a chance of about 2^-64. `salt` is what the meaning of the columns depends on."""
    words = np.concatenate([words_of(column) for column in columns], axis=1)
    count, width = words.shape
    # Another odd number for each place, so that values which change places are not taken for the same.
    odd = np.arange(1, width + 1, dtype=np.uint64) * _MIX_AGAIN * np.uint64(2) + np.uint64(1)
    found = np.empty(count, dtype=np.uint64)
    start = np.uint64((zlib.crc32(salt.encode()) + 1) << 31)
    for at in range(0, count, _BLOCK):
        part = words[at : at + _BLOCK] + odd
        # High bits are brought down before each product: alone they would only ever reach higher ones.
        for factor in (_MIX, _MIX_AGAIN):
            part ^= part >> _HALF
            part *= factor
        part ^= part >> _HALF
        found[at : at + _BLOCK] = (part * odd).sum(axis=1, dtype=np.uint64)
    found = (found ^ start) * _MIX
    found ^= found >> _HALF
    found[found == 0] = 1
    return found.view(np.int64)
