"""Where the tiles of a mosaic lie: by the image header, else by the protocol in the series header."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lepton_monai.dicom.csa import mosaic_facts
from tests.dicom.catalogue.enhanced import csa_header
from tests.phantoms import oblique_affine

AFFINE = oblique_affine((1.5, 1.5, 2.5))
ROWS, COLUMNS, TILES = 30, 24, 7
NORMAL = AFFINE[:3, 2] / 2.5


def _places(offset_mm: float = 0.0) -> NDArray[np.float64]:
    """Return the middle of each slice, as a protocol counts them."""
    middle = AFFINE[:3, :2] @ (COLUMNS / 2, ROWS / 2) + AFFINE[:3, 3]
    return np.asarray(middle + np.arange(TILES)[:, None] * AFFINE[:3, 2] + offset_mm * NORMAL)


def _protocol(places: NDArray[np.float64]) -> bytes:
    lines = [
        f"sSliceArray.asSlice[{number}].sPosition.d{axis}\t = \t{value:.9f}"
        for number, place in enumerate(places)
        for axis, value in zip(("Sag", "Cor", "Tra"), place, strict=True)
    ]
    return csa_header(MrPhoenixProtocol=["\n".join(lines)]).replace(b"FD\0\0", b"UN\0\0")  # a text


def _mosaic(at: int, **headers: bytes) -> Dataset:
    """Make a mosaic whose first tile is slice `at` of the protocol; headers by their element."""
    dataset = Dataset()
    across = 3
    dataset.Rows, dataset.Columns = ROWS * across, COLUMNS * across
    dataset.PixelSpacing = [1.5, 1.5]
    dataset.ImageOrientationPatient = (AFFINE[:3, :2] / 1.5).T.ravel().round(12).tolist()
    corner = AFFINE @ (-(across - 1) * COLUMNS / 2, -(across - 1) * ROWS / 2, at, 1)
    dataset.ImagePositionPatient = corner[:3].round(9).tolist()
    for element, content in headers.items():
        dataset.add_new((0x0029, {"image": 0x1010, "series": 0x1020}[element]), "OB", content)
    return dataset


@pytest.mark.parametrize(("at", "direction"), [(0, 1.0), (TILES - 1, -1.0)])
def test_tiles_follow_the_protocol_from_the_end_at_which_the_image_lies(at: int, direction: float) -> None:
    facts = mosaic_facts(_mosaic(at, series=_protocol(_places())))
    assert facts is not None
    assert facts[0] == TILES
    np.testing.assert_allclose(facts[1], direction * NORMAL, atol=1e-6)


def test_the_image_header_is_found_without_its_creator_and_goes_before_the_protocol() -> None:
    image = csa_header(NumberOfImagesInMosaic=[5], SliceNormalVector=[0.0, 0.6, 0.8])
    assert mosaic_facts(_mosaic(0, image=image, series=_protocol(_places()))) == (5, (0.0, 0.6, 0.8))


@pytest.mark.parametrize(
    "places",
    [
        _places(offset_mm=40.0),
        _places() @ np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]),
        _places()[:1],
    ],
    ids=["elsewhere", "turned", "of one slice"],
)
def test_a_protocol_that_does_not_fit_the_image_says_nothing(places: NDArray[np.float64]) -> None:
    assert mosaic_facts(_mosaic(0, series=_protocol(places))) is None


def test_a_number_that_is_left_out_makes_the_protocol_worthless() -> None:
    whole = _protocol(_places())
    damaged = whole.replace(b"asSlice[3]", b"asSlice[9]")
    assert mosaic_facts(_mosaic(0, series=damaged)) is None


def test_a_damaged_series_header_does_not_spoil_the_image_header() -> None:
    image = csa_header(NumberOfImagesInMosaic=[5], SliceNormalVector=[0.0, 0.6, 0.8])
    assert mosaic_facts(_mosaic(0, image=image, series=_protocol(_places())[:900])) == (5, (0.0, 0.6, 0.8))


def test_without_a_header_nothing_is_known() -> None:
    assert mosaic_facts(_mosaic(0)) is None
