"""From cases to what a network is fed.

`LoadDicomd` works in anybody's MONAI script: it reads a folder of DICOM, or refuses it by name.
"""

from lepton_monai.data.load import LoadDicomd, VolumeReader

__all__ = ["LoadDicomd", "VolumeReader"]
