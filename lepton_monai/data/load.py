"""Our reading, as MONAI wants it."""

import logging
import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from monai.config import KeysCollection
from monai.data import ImageReader
from monai.transforms import LoadImaged, MapTransform
from numpy.typing import NDArray

from lepton_monai.core.errors import InputError, SeriesRefused
from lepton_monai.core.volume import Volume
from lepton_monai.core.wording import counted
from lepton_monai.dicom import Series, read_series, scan
from lepton_monai.labels.labelset import Mask

Readable = str | Path | Series | Volume | Mask


class VolumeReader(ImageReader):
    """A MONAI reader that is right about a DICOM series or refuses it.

    Give it to a loader at call time, as `LoadDicomd` does: given to the constructor of
    `monai.transforms.LoadImage`, its refusals are caught and MONAI's own readers are tried.
    """

    def verify_suffix(self, filename: Any) -> bool:  # noqa: ARG002 - MONAI's signature
        """Take every name: DICOM files have any."""
        return True

    def read(  # type: ignore[override] # MONAI's type knows paths alone
        self, data: Sequence[Readable] | Readable, **_: Any
    ) -> Volume | Mask:
        """Read one image.

        Parameters
        ----------
        data
            A folder or file of one DICOM series, or what `lepton_monai.dicom.scan` found.

        Raises
        ------
        SeriesRefused
            The series is no volume.
        InputError
            The folder holds no series, or several.
        """
        one = data[0] if isinstance(data, tuple | list) else data
        if isinstance(one, Volume | Mask):
            return one
        if isinstance(one, Series):
            return read_series(one)
        return _read_folder(Path(str(one)))

    def get_data(self, img: Volume | Mask) -> tuple[NDArray[Any], dict[str, Any]]:
        """Return the array ``(i, j, k)`` and MONAI's meta data, with the affine in RAS."""
        affine = img.grid.ras()
        meta = {
            "affine": affine,
            "original_affine": affine.copy(),
            "spatial_shape": np.array(img.grid.shape),
            "original_channel_dim": "no_channel",
            "space": "RAS",
        }
        return img.array, meta


class LoadDicomd(MapTransform):
    """Load DICOM series in a MONAI pipeline; a refusal is raised, never swallowed.

    Parameters
    ----------
    keys
        Of the item; each value is a folder, a `Series`, a `Volume` or a `Mask`.
    allow_missing_keys
        As in MONAI.

    Raises
    ------
    SeriesRefused
        A series is no volume; the error carries the finding.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self._reader = VolumeReader()
        with _without_words_on_other_readers():
            # With expanduser MONAI would turn every object into text.
            self._loader = LoadImaged(
                keys,
                reader="NibabelReader",
                expanduser=False,
                allow_missing_keys=allow_missing_keys,
            )

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Replace each value by a `MetaTensor` ``(i, j, k)``."""
        return dict(self._loader(data, reader=self._reader))


@contextmanager
def _without_words_on_other_readers() -> Iterator[None]:
    """Keep still while MONAI makes the readers that we don't use and says what they lack."""
    logger = logging.getLogger("monai.data.nvimgcodec_pydicom_plugin")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _read_folder(path: Path) -> Volume:
    index = scan([path])
    if len(index.series) == 1 and not index.refused:
        return read_series(index.series[0])
    if not index.series and index.refused:
        raise SeriesRefused(index.refused[0].finding)
    if not index.series:
        message = f"{path} holds no DICOM series that makes a volume."
        raise InputError(message)
    message = (
        f"{path} holds {counted(len(index.series), 'volume')} and {len(index.refused)} refused series: "
        "give one of `lepton_monai.dicom.scan([folder]).series` instead of the folder."
    )
    raise InputError(message)
