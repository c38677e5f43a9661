"""Synthetic series with a known truth: every row of docs/DICOM.md, as data."""

from tests.dicom.catalogue.enhanced import MANY_FRAMES
from tests.dicom.catalogue.files import FILES
from tests.dicom.catalogue.geometry import GEOMETRY
from tests.dicom.catalogue.pet import PET_SERIES
from tests.dicom.catalogue.splits import SPLITS
from tests.dicom.catalogue.syntaxes import SYNTAXES
from tests.dicom.catalogue.truth import CatalogueSeries, TrueVolume, Truth
from tests.dicom.catalogue.values import VALUES

CATALOGUE: dict[str, CatalogueSeries] = {
    one.name: one for one in (*GEOMETRY, *SPLITS, *VALUES, *PET_SERIES, *MANY_FRAMES, *FILES, *SYNTAXES)
}

__all__ = ["CATALOGUE", "CatalogueSeries", "TrueVolume", "Truth"]
