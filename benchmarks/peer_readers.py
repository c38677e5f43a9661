"""What the peers do with the same files, each as its documentation shows it; runs in their environment.

    python peer_readers.py READER FOLDER [RUNS]

prints the least CPU seconds of some runs after one that warms up. The files of FOLDER are one CT series for
`VOLUMES`, any tree for `HEADERS`. Imports stand in the functions: each reader pays for its own alone.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cost import cpu_seconds

VALUES = (
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "PatientID",
    "Modality",
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "RescaleSlope",
    "InstanceNumber",
)
"""The twelve that a header reader is asked for."""


def files_of(folder: str) -> Iterator[str]:
    """Yield the files of a tree."""
    for place, _, names in os.walk(folder):
        for name in names:
            yield os.path.join(place, name)  # noqa: PTH118 - path objects would be charged to the peers


def _pydicom_into_array(folder: str) -> Any:
    """Copy stored values into one array, without a rescale."""
    import numpy as np
    import pydicom

    slices = [pydicom.dcmread(path) for path in files_of(folder)]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    array = np.empty((len(slices), slices[0].Rows, slices[0].Columns), np.int16)
    for plane, one in zip(array, slices, strict=True):
        plane[...] = one.pixel_array
    return array


def _pydicom_stacked(folder: str) -> Any:
    """Follow the usual recipe: a stack of HU."""
    import numpy as np
    import pydicom

    slices = [pydicom.dcmread(path) for path in files_of(folder)]
    slices.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    return np.stack([one.pixel_array * one.RescaleSlope + one.RescaleIntercept for one in slices])


def _simpleitk(folder: str) -> Any:
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(folder))
    return reader.Execute()


def _monai_itk(folder: str) -> Any:
    from monai.transforms import LoadImage

    return LoadImage(reader="ITKReader", image_only=True)(folder)


def _monai_pydicom(folder: str) -> Any:
    from monai.transforms import LoadImage

    return LoadImage(reader="PydicomReader", image_only=True)(folder)


def _highdicom(folder: str) -> Any:
    import highdicom as hd
    import numpy as np
    import pydicom

    slices = [pydicom.dcmread(path) for path in files_of(folder)]
    return hd.get_volume_from_series(slices, dtype=np.float32)


def _dicom2nifti(folder: str) -> Any:
    import dicom2nifti

    out = tempfile.mkdtemp()
    dicom2nifti.convert_directory(folder, out, compression=False, reorient=False)
    shutil.rmtree(out)


def _dcm2niix(folder: str) -> Any:
    out = tempfile.mkdtemp()
    command = [str(Path(sys.executable).parent / "dcm2niix"), "-z", "n", "-b", "n", "-o", out, folder]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - a peer of our own environment
    shutil.rmtree(out)


def _dicomsdl(folder: str, kind: str, *, in_place: bool = False) -> Any:
    import dicomsdl
    import numpy as np

    slices = [dicomsdl.open(path) for path in files_of(folder)]
    slices.sort(key=lambda one: one.ImagePositionPatient[2])
    info = slices[0].getPixelDataInfo()
    array = np.empty((len(slices), info["Rows"], info["Cols"]), kind)
    for plane, one in zip(array, slices, strict=True):
        if in_place:
            one.copyFrameData(0, plane)
        else:
            plane[...] = one.pixelData(storedvalue=kind == "int16")
    return array


VOLUMES: dict[str, Callable[[str], Any]] = {
    "pydicom, stored values into one array": _pydicom_into_array,
    "pydicom, np.stack of HU": _pydicom_stacked,
    "SimpleITK": _simpleitk,
    "MONAI ITKReader": _monai_itk,
    "MONAI PydicomReader": _monai_pydicom,
    "highdicom, float32": _highdicom,
    "dicom2nifti (writes, no gzip)": _dicom2nifti,
    "dcm2niix (writes, no gzip)": _dcm2niix,
    "dicomsdl, stored int16 in place": lambda folder: _dicomsdl(folder, "int16", in_place=True),
    "dicomsdl, stored int16": lambda folder: _dicomsdl(folder, "int16"),
    "dicomsdl, float32": lambda folder: _dicomsdl(folder, "float32"),
}
"""Readers of a whole series."""


def _pydicom_headers(folder: str) -> None:
    """`dcmread(stop_before_pixels=True)` alone: no value is asked for."""
    import pydicom

    for path in files_of(folder):
        pydicom.dcmread(path, stop_before_pixels=True)


def _dicomsdl_headers(folder: str) -> None:
    import dicomsdl

    names = list(VALUES)
    for path in files_of(folder):
        dicomsdl.open(path, load_until=0x7FE00010).getValues(names)


def _fastdicom_headers(folder: str) -> None:
    import fastdicom

    for path in files_of(folder):
        dataset = fastdicom.dcmread(path, stop_before_pixels=True)
        for name in VALUES:
            dataset.get(name)


HEADERS: dict[str, Callable[[str], None]] = {
    "pydicom": _pydicom_headers,
    "dicomsdl": _dicomsdl_headers,
    "fastdicom": _fastdicom_headers,
}
"""Readers of the headers of a tree."""


def main() -> None:
    """Measure one reader."""
    warnings.simplefilter("ignore")
    reader, folder = sys.argv[1:3]
    runs = int(sys.argv[3]) if len(sys.argv) > 3 else 2
    read = (VOLUMES | HEADERS)[reader]
    read(folder)
    sys.stdout.write(f"\n{cpu_seconds(lambda: read(folder), runs)}\n")


if __name__ == "__main__":
    main()
