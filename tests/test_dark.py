"""The copies of pictures for dark pages.

matplotlib and numpy are imported by the tests, not with this file, as in lab/test_pictures.py.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.documents import ROOT

IMAGES = ROOT / "docs" / "images"
COPIED = sorted(
    path for path in IMAGES.glob("*.png") if not re.search("-(?:dark|light)$", path.stem)
)


@pytest.fixture(scope="module", autouse=True)
def needs_matplotlib() -> None:
    pytest.importorskip("matplotlib")


@pytest.mark.parametrize(
    ("light", "dark"),
    [
        ((1, 1, 1), (None, None, None, 0)),  # the ground
        ((0, 0, 0), (1, 1, 1, 1)),
        ((0.8, 0.8, 0.8), (1, 1, 1, 0.2)),
        ((0, 0, 0.5), (0.5, 0.5, 1, 1)),
        ((1, 0, 0), (1, 0, 0, 1)),  # neither light nor dark
        ((1, 0.5, 0.5), (1, 0, 0, 0.5)),  # the same, half as strong
    ],
)
def test_light_and_dark_change_places(
    light: tuple[float, ...], dark: tuple[float | None, ...]
) -> None:
    import numpy as np

    from benchmarks.dark import dark as dark_of

    pixel = dark_of(np.array([[light]], np.float64))[0, 0]
    wanted = [value if value is not None else own for value, own in zip(dark, pixel, strict=True)]
    assert pixel == pytest.approx(wanted)


@pytest.mark.parametrize("picture", COPIED, ids=lambda path: path.stem)
def test_each_picture_of_the_docs_has_its_dark_copy(picture: Path, tmp_path: Path) -> None:
    import numpy as np
    from matplotlib.image import imread

    from benchmarks.dark import copy

    (tmp_path / picture.name).write_bytes(picture.read_bytes())
    name = f"{picture.stem}-dark.png"
    fresh = copy(tmp_path / picture.name)
    assert fresh == tmp_path / name
    stored = imread(IMAGES / name)
    remake = f"python -m benchmarks.dark docs/images/{picture.name}"
    assert np.array_equal(stored, imread(fresh)), f"it is of another picture: {remake}"
