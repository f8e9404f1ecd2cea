"""The copy of a picture for a dark page: ``python -m benchmarks.dark docs/images/pollers.png``.

Each NAME.png that is named is copied to NAME-dark.png. Light and dark change places, hues stay, and
the white ground becomes transparent, so that the page's own ground is seen.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.image import imread, imsave
from numpy.typing import NDArray

Pixels = NDArray[np.float64]


def copy(picture: Path) -> Path:
    """Write the dark copy of a picture beside it; return its path."""
    path = picture.with_name(f"{picture.stem}-dark.png")
    imsave(path, dark(np.asarray(imread(picture), np.float64)))
    return path


def dark(pixels: Pixels) -> Pixels:
    """Return red, green, blue and alpha, each from 0 to 1, of opaque pixels on white."""
    colours = pixels[..., :3]
    highest, lowest = colours.max(-1, keepdims=True), colours.min(-1, keepdims=True)
    inverted = colours + 1 - highest - lowest  # HSL with a lightness of 1 - L
    alpha = inverted.max(-1, keepdims=True)  # all else of the pixel is black: the ground
    whole = np.divide(inverted, alpha, out=np.zeros_like(inverted), where=alpha > 0)
    return np.concatenate([whole.clip(0, 1), alpha], -1)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(copy(Path(name)))
