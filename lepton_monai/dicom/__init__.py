"""Reading DICOM: every series right, or refused with a name.

>>> from lepton_monai.dicom import read_series, scan
>>> index = scan([folder])  # doctest: +SKIP
>>> volume = read_series(index.series[0])  # doctest: +SKIP
"""

from lepton_monai.dicom.index import Index, scan
from lepton_monai.dicom.read import read_series
from lepton_monai.dicom.repair import regularise, repair
from lepton_monai.dicom.series import RefusedSeries, Series

__all__ = ["Index", "RefusedSeries", "Series", "read_series", "regularise", "repair", "scan"]
