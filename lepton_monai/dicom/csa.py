"""The CSA header of Siemens, read by nibabel: where the tiles of a mosaic lie."""

import warnings
from typing import Any

BLOCK = (0x0029, "SIEMENS CSA HEADER", 0x10)
"""Group, creator and element of the image header info."""

MOST_TILES = 4096


def mosaic_facts(dataset: Any) -> tuple[int, tuple[float, ...]] | None:
    """Read the number of tiles and the slice normal (LPS) of a mosaic; None where one is absent.

    Raises
    ------
    Exception
        Whatever a foreign header makes pydicom or nibabel raise.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nibabel calls its own module experimental
        from nibabel.nicom import csareader

        group, creator, element = BLOCK
        try:
            content = dataset.private_block(group, creator)[element].value
        except KeyError:
            return None
        tags = csareader.read(content)["tags"]
    tiles = tags.get("NumberOfImagesInMosaic", {}).get("items", [])
    normal = tags.get("SliceNormalVector", {}).get("items", [])
    if not tiles or not 0 < int(tiles[0]) <= MOST_TILES or len(normal) != 3:
        return None
    return int(tiles[0]), tuple(map(float, normal))
