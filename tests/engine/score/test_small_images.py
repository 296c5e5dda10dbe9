"""Small images are the means of what they cover, and their files are what others read as PNG."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib import image

from modeltune.engine.score.small_images import png_of, resized


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_holds_the_pixels(channels: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
    read = image.imread(io.BytesIO(png_of(pixels)), format="png")
    np.testing.assert_array_equal(np.rint(read * 255).reshape(pixels.shape), pixels)


def test_a_pixel_of_a_smaller_image_is_the_mean_of_its_area() -> None:
    rows = np.array([[0.0, 3.0, 6.0], [3.0, 6.0, 9.0], [9.0, 9.0, 9.0]])[..., None]
    # Each new pixel covers one and a half old ones along each side.
    expected = np.array([[2, 6], [16.5 / 2.25, 19.5 / 2.25]])
    np.testing.assert_allclose(resized(rows, 2, 2)[..., 0], expected, rtol=0, atol=1e-12)
