"""Make images small and write them as PNG, with NumPy alone: no backend has to be loaded for it."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from modeltune.records import Array

COLOUR_TYPES = {1: 0, 3: 2, 4: 6}
"""PNG's number for grey, for red, green and blue, and for these with opacity, by channels."""


def resized(image: Array, height: int, width: int) -> Array:
    """Return an image of this size: each pixel is the mean of the area that it covers.

    Args:
        image: of shape (height, width, channels).
        height: of the result, in pixels; so is ``width``.
    """
    across = np.einsum("or,rcn->ocn", _areas(image.shape[0], height), image)
    smaller: Array = np.einsum("oc,rcn->ron", _areas(image.shape[1], width), across)
    return smaller


def _areas(size: int, fewer: int) -> Array:
    """Return which share of each new pixel each of the old ones has, along one side."""
    edges = np.arange(fewer + 1) * size / fewer
    starts = np.arange(size)
    covered = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    shares: Array = np.clip(covered, 0, None) * fewer / size
    return shares


def png_of(pixels: Array) -> bytes:
    """Return an image of bytes, of shape (height, width, 1, 3 or 4), as a PNG file.

    https://www.w3.org/TR/png-3/
    """
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[channels], 0, 0, 0)
    # Before each row the number of its filter: none.
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
