"""Pictures, PNG and JPEG, from foreign files."""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lepton_monai.core.errors import InputError

SUFFIXES = (".png", ".jpg", ".jpeg")

FORMATS = ("PNG", "JPEG")
"""Told by their first bytes; no other decoder of Pillow sees a foreign file."""

DEEP = ("I;16", "I;16B", "I;16L", "I")
"""Pillow's modes of 16 bits."""


def read_picture(path: Path) -> NDArray[np.float32]:
    """Read a picture as a viewer shows it, upright.

    Returns
    -------
    picture : float32 ``(i, j, channel)``
        0 is black, 1 is white; one channel, or red, green and blue. Transparency is left out.

    Raises
    ------
    InputError
        The file can't be read, is cut, is no PNG or JPEG, or claims too much.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                rows = _values(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        message = f"The picture claims more than {2 * (Image.MAX_IMAGE_PIXELS or 0)} pixels."
        raise InputError(message) from error
    except Exception as error:  # the border: a foreign file may raise anything
        message = f"The picture can't be read ({type(error).__name__})."
        raise InputError(message) from error
    return np.ascontiguousarray(rows.transpose(1, 0, 2))


def _values(image: Image.Image) -> NDArray[np.float32]:
    """Return rows, columns, channels between 0 and 1."""
    if image.mode in DEEP:
        return np.asarray(image, dtype=np.float32)[:, :, None] / np.float32(65535)
    is_grey = image.mode in {"1", "L", "LA"}
    values = np.asarray(image.convert("L" if is_grey else "RGB"), dtype=np.float32) / np.float32(255)
    return values[:, :, None] if is_grey else values
