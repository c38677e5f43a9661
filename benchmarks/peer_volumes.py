"""What the peers make of each series, as their documentation shows it; runs in their environment.

    python peer_volumes.py READER FOLDER OUT

reads every folder ``FOLDER/NUMBER`` and writes ``OUT/NUMBER.npz`` (arrays, affines in LPS) and, last,
``OUT/NUMBER.json`` (what was raised, what was printed). What is there is not read again: after a crash the
next start goes on behind it.
"""

import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
LONGEST_S = 240
"""For a series of a few kilobytes, imports included."""

Found = list[tuple[str, Any, Any]]
"""Name, array ``(i, j, k)`` and affine in LPS of each volume."""


def _simpleitk(folder: Path) -> Found:
    import SimpleITK as sitk

    found: Found = []
    reader = sitk.ImageSeriesReader()
    for place, _, _ in os.walk(folder):
        for uid in reader.GetGDCMSeriesIDs(place):
            names = reader.GetGDCMSeriesFileNames(place, uid)
            reader.SetFileNames(names)
            image = sitk.ReadImage(names[0]) if len(names) == 1 else reader.Execute()
            affine = np.eye(4)
            affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
            affine[:3, 3] = image.GetOrigin()
            array = sitk.GetArrayFromImage(image)
            found.append(("", array.T if array.ndim == 3 else np.moveaxis(array, -1, 0).T, affine))
    return found


def _monai(reader: str) -> Callable[[Path], Found]:
    def read(folder: Path) -> Found:
        from monai.transforms import LoadImage

        files = [path for path in folder.rglob("*") if path.is_file()]
        image = LoadImage(reader=reader, image_only=True)(files[0] if len(files) == 1 else folder)
        return [("", image.numpy(), LPS_TO_RAS @ image.affine.numpy())]

    return read


def _highdicom(folder: Path) -> Found:
    import highdicom as hd
    import pydicom

    series: dict[str, list[Any]] = {}
    bad: list[Exception] = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            try:
                dataset = pydicom.dcmread(path)
            except pydicom.errors.InvalidDicomError as error:
                bad.append(error)
                continue
            if "PixelData" in dataset:
                series.setdefault(dataset.SeriesInstanceUID, []).append(dataset)
    if bad and not series:
        raise bad[0]
    found: Found = []
    for slices in series.values():
        is_multi_frame = len(slices) == 1 and int(slices[0].get("NumberOfFrames", 1)) > 1
        volume = (
            hd.Image.from_dataset(slices[0]).get_volume()
            if is_multi_frame
            else hd.get_volume_from_series(slices)
        )
        found.append(("", volume.array, volume.affine))
    return found


def _dicom2nifti(folder: Path) -> Found:
    import dicom2nifti

    with tempfile.TemporaryDirectory() as out:
        dicom2nifti.convert_directory(str(folder), out, compression=False, reorient=False)
        return _written(out)


def _dcm2niix(folder: Path) -> Found:
    with tempfile.TemporaryDirectory() as out:
        command = [str(Path(sys.executable).parent / "dcm2niix"), "-z", "n", "-o", out, str(folder)]
        done = subprocess.run(command, check=False)  # noqa: S603 - a peer of our own environment
        found = _written(out)
        if done.returncode and not found:
            message = f"dcm2niix ended with {done.returncode}"
            raise RuntimeError(message)
        return found


def _written(out: str) -> Found:
    """Read the NIfTI files of a folder; each volume along a fourth axis is one."""
    import nibabel

    found: Found = []
    for path in sorted(Path(out).glob("*.nii*")):
        image = nibabel.load(path)
        colours = image.get_data_dtype().names
        array = np.asarray(image.dataobj) if colours else image.get_fdata()
        for one in [array] if array.ndim < 4 else np.moveaxis(array, -1, 0):
            plain = np.stack([one[name] for name in colours], axis=-1) if colours else one
            found.append((path.name, plain, LPS_TO_RAS @ image.affine))
    return found


READERS: dict[str, Callable[[Path], Found]] = {
    "SimpleITK": _simpleitk,
    "MONAI ITKReader": _monai("ITKReader"),
    "MONAI PydicomReader": _monai("PydicomReader"),
    "highdicom": _highdicom,
    "dicom2nifti": _dicom2nifti,
    "dcm2niix": _dcm2niix,
}


@contextmanager
def _printed(path: Path) -> Iterator[None]:
    """Keep what is printed, by C++ too."""
    sys.stdout.flush()
    kept = [os.dup(1), os.dup(2)]
    with path.open("wb") as file:
        for at in (1, 2):
            os.dup2(file.fileno(), at)
        try:
            yield
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for at, old in zip((1, 2), kept, strict=True):
                os.dup2(old, at)
                os.close(old)


def _read(read: Callable[[Path], Found], folder: Path, out: Path) -> None:
    printed = out.with_suffix(".printed")
    raised = ""
    found: Found = []
    with _printed(printed):
        try:
            found = read(folder)
        except Exception as error:  # noqa: BLE001 - whatever a peer raises is the result
            raised = f"{type(error).__name__}: {error}"
            sys.stderr.write("".join(traceback.format_exception_only(error)))
    arrays = {f"array {at}": one[1] for at, one in enumerate(found)}
    arrays |= {f"affine {at}": np.asarray(one[2]) for at, one in enumerate(found)}
    np.savez(out.with_suffix(".npz"), **arrays)
    content = {
        "raised": raised,
        "printed": printed.read_text("utf-8", "replace"),
        "names": [f[0] for f in found],
    }
    out.with_suffix(".json").write_text(json.dumps(content), encoding="utf-8")


def main() -> None:
    """Read with one reader what it has not read yet."""
    reader, source, out = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    logging.basicConfig(level=logging.WARNING)
    for folder in sorted(source.iterdir()):
        target = out / folder.name
        started = target.with_suffix(".started")
        if target.with_suffix(".json").exists() or started.exists():
            continue
        started.touch()
        signal.alarm(LONGEST_S)  # ends this process
        _read(READERS[reader], folder, target)
        signal.alarm(0)


if __name__ == "__main__":
    main()
