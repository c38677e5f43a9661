"""The CSA headers of Siemens, parsed by nibabel: where the tiles of a mosaic lie."""

import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

GROUP = 0x0029
MOST_TILES = 4096

_POSITION = re.compile(r"sSliceArray\.asSlice\[(\d+)\]\.sPosition\.d(Sag|Cor|Tra)\s*=\s*(\S+)")
_AXES = {"Sag": 0, "Cor": 1, "Tra": 2}  # to the left, to the back, to the head: LPS


def mosaic_facts(dataset: Any) -> tuple[int, tuple[float, ...]] | None:
    """Read the number of tiles and the direction (LPS) in which they follow each other.

    The image header says both; where an export has dropped it, the protocol in the series header says where
    each slice lies. Both are found by their content: anonymisers leave them without their creator.

    Returns
    -------
    tiles, normal
        None where neither header is there.

    Raises
    ------
    Exception
        Whatever a foreign header makes pydicom or nibabel raise.
    """
    protocols: list[str] = []
    for tags in _csa_headers(dataset):
        tiles, normal = _items(tags, "NumberOfImagesInMosaic"), _items(tags, "SliceNormalVector")
        if tiles and 0 < int(tiles[0]) <= MOST_TILES and len(normal) == 3:
            return int(tiles[0]), tuple(map(float, normal))
        protocols.append("".join(str(text) for text in _items(tags, "MrPhoenixProtocol")))
    found = (_by_protocol(protocol, dataset) for protocol in protocols)
    return next((facts for facts in found if facts is not None), None)


def _csa_headers(dataset: Any) -> Iterator[dict[str, Any]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its own module experimental
        from nibabel.nicom import csareader

        for element in dataset.group_dataset(GROUP):
            if element.tag.element & 0xFF in {0x10, 0x20} and isinstance(element.value, bytes):
                yield csareader.read(element.value)["tags"]


def _by_protocol(protocol: str, dataset: Any) -> tuple[int, tuple[float, ...]] | None:
    """Take the slices from where the protocol puts them, if the image lies at their first or last.

    The images may be numbered against the slices of the protocol: then the first tile is its last slice.
    """
    places: dict[int, list[float]] = {}
    for number, axis, value in _POSITION.findall(protocol):
        places.setdefault(int(number), [0.0, 0.0, 0.0])[_AXES[axis]] = float(value)
    tiles = len(places)
    if not 2 <= tiles <= MOST_TILES or sorted(places) != list(range(tiles)):
        return None
    first, last = np.array(places[0]), np.array(places[tiles - 1])
    along = (last - first) / np.linalg.norm(last - first)
    row, column = np.split(np.array([float(one) for one in dataset.ImageOrientationPatient]), 2)
    row_spacing, column_spacing = (float(one) for one in dataset.PixelSpacing)
    # The position is that of a slice as large as the mosaic, with the centre of the first tile.
    centre = np.array([float(one) for one in dataset.ImagePositionPatient])
    centre += (
        row * column_spacing * (dataset.Columns - 1) / 2 + column * row_spacing * (dataset.Rows - 1) / 2
    )
    step = float(np.linalg.norm(last - first)) / (tiles - 1)
    offsets = [abs(float((centre - end) @ along)) for end in (first, last)]
    is_upright = abs(abs(float(along @ np.cross(row, column))) - 1) < 1e-3
    if not is_upright or min(offsets) > step / 2:
        return None
    return tiles, tuple((along if offsets[0] < offsets[1] else -along).tolist())


def _items(tags: dict[str, Any], name: str) -> list[Any]:
    return list(tags.get(name, {}).get("items", []))
