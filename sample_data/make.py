"""Make the sample export: `python sample_data/make.py [FOLDER]`.

Writes a folder as a PACS would export it, with the truth as RTSTRUCT and SEG beside the images,
and a file `split.json` next to the folder. The same program writes the same files every time.
"""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

if __name__ == "__main__":  # run as a script: Python knows the folder of the script alone
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sample_data.dicom_files import SOP_CLASSES, SeriesOptions, sop_uid_of, uid, write_series
from sample_data.junk import CONTENTS, TITLE, write_capture, write_junk, write_localizer
from sample_data.label_files import (
    SegOptions,
    StructureOptions,
    mask_contours,
    write_contours,
    write_seg,
)
from sample_data.patients import (
    SEED,
    SPLIT,
    VENDORS,
    PatientPlan,
    SamplePatient,
    sample_patients,
)

TOGETHER = {"LEP-0004 CT": "LEP-0003 CT"}
"""A study whose files lie in the folder of another one."""

APART = "LEP-0007 CT"
"""The study that is spread over two folders."""

CAPTURED = "LEP-0005"
"""The patient whose study has a screen save."""

DUPLICATED_SLICE, TRUNCATED_SLICE = 11, 7


def make_export(target: Path, patients: Iterable[SamplePatient] | None = None) -> None:
    """Write the export into an empty folder, or over an earlier export.

    Parameters
    ----------
    target
        The folder.
    patients
        Every patient of the table, where they are at hand; made otherwise.

    Raises
    ------
    FileExistsError
        The folder holds a file that isn't of an earlier export.
    """
    _clear(target)
    rng = np.random.default_rng([SEED, 0])
    with tempfile.TemporaryDirectory() as staging:
        folders: dict[str, list[Path]] = {}
        for patient in patients or sample_patients():
            name = f"{patient.plan.patient_id} {patient.plan.modality}"
            files = write_study(Path(staging) / name, patient)
            folders.setdefault(TOGETHER.get(name, name), []).extend(files)
        folders[f"{APART} second"] = folders[APART][::3]
        folders[APART] = [file for file in folders[APART] if file not in folders[APART][::3]]
        for number, files in zip(rng.permutation(len(folders)), folders.values(), strict=True):
            folder = target / "DICOM" / f"{number + 1:04d}"
            folder.mkdir(parents=True)
            for shuffled, file in zip(rng.permutation(len(files)), files, strict=True):
                shutil.move(file, folder / f"IM{shuffled + 1:04d}")
    write_junk(target)
    names = sorted(_files(target))
    (target / CONTENTS).write_text("\n".join([TITLE, *names, ""]), encoding="ascii", newline="\n")


def _files(target: Path) -> list[str]:
    return [path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()]


def _clear(target: Path) -> None:
    found = set(_files(target)) if target.exists() else set()
    contents = target / CONTENTS
    title, *ours = contents.read_text("ascii").split("\n") if contents.is_file() else [""]
    foreign = found - {CONTENTS, *ours} if title == TITLE else found
    if foreign:
        message = (
            f"{target} holds {len(foreign)} files that this program didn't write, "
            f"such as {min(foreign)}: name an empty folder, or an earlier export."
        )
        raise FileExistsError(message)
    if found:
        shutil.rmtree(target)


def write_study(folder: Path, patient: SamplePatient) -> list[Path]:
    """Write image, truth and the trouble of one patient; return its files."""
    plan = patient.plan
    options = series_options(patient)
    images = write_series(folder / "image", patient.stored, patient.affine_lps, patient.who, options)
    files = [*images, *_write_truth(folder, patient, options, images)]
    if plan.trouble == "duplicate":
        copy = folder / "duplicate"
        shutil.copyfile(images[DUPLICATED_SLICE], copy)
        files.append(copy)
    elif plan.trouble == "missing slice":
        files.remove(images[len(images) // 2])
    elif plan.trouble == "localizer":
        files += write_localizer(folder, patient, options)
    if plan.patient_id == CAPTURED:
        files += write_capture(folder, patient)
    return files


def series_uid(patient: SamplePatient) -> str:
    """Return the UID of the image series of a patient."""
    return uid(patient.who.study_uid, "image")


def series_options(patient: SamplePatient) -> SeriesOptions:
    """Say how the vendor of a patient writes its series."""
    plan, vendor = patient.plan, VENDORS[patient.plan.vendor]
    modality = plan.modality
    extra: dict[str, object] = {
        "BodyPartExamined": "CHEST",
        "InstitutionName": "SYNTHETIC HOSPITAL",
        "ManufacturerModelName": vendor.models[modality],
        "PatientPosition": "FFS" if plan.orientation == "axial, feet first" else "HFS",
        "SoftwareVersions": "1.0",
        "StationName": f"{modality}{plan.number:02d}",
    }
    if modality == "CT":
        extra |= vendor.extra
        if vendor.padding is not None:
            extra["PixelPaddingValue"] = vendor.padding
    return SeriesOptions(
        modality=modality,
        description=f"THORAX {plan.spacing_mm[2]:g} MM",
        series_uid=series_uid(patient),
        series_number=2,
        rescale_slope=patient.slope,
        rescale_intercept=patient.intercept,
        transfer_syntax=plan.transfer_syntax,
        bits_stored=vendor.bits_stored if modality == "CT" else 12,
        manufacturer=vendor.manufacturer,
        extra=extra,
        per_slice=_slice_tags(plan),
    )


def _slice_tags(plan: PatientPlan) -> Callable[[int, Dataset], None]:
    def change(k: int, dataset: Dataset) -> None:
        x, y, z = dataset.ImagePositionPatient
        first = [abs(float(number)) for number in dataset.ImageOrientationPatient[:3]]
        second = [abs(float(number)) for number in dataset.ImageOrientationPatient[3:]]
        across = int(np.argmin(np.add(first, second)))
        dataset.SliceLocation = (x, y, z)[across]
        if plan.vendor == "GE":
            block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
            block.add_new(0x02, "SL", 912)
            block.add_new(0x24, "DS", "22.625")
        elif plan.vendor == "SIEMENS":
            block = dataset.private_block(0x0029, "SIEMENS MEDCOM HEADER", create=True)
            block.add_new(0x08, "CS", "SOM 5")
        if plan.trouble == "truncated pixels" and k == TRUNCATED_SLICE:
            dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]

    return change


def _write_truth(
    folder: Path, patient: SamplePatient, options: SeriesOptions, images: Sequence[Path]
) -> list[Path]:
    plan = patient.plan
    if plan.truth == "SEG":
        seg = SegOptions(description="GTV SEGMENTATION", manufacturer=options.manufacturer)
        return [write_seg(folder / "seg", patient.masks, images, seg)]
    if plan.truth == "RTSTRUCT":
        sop_uids = [sop_uid_of(series_uid(patient), k) for k in range(len(images))]
        contours = mask_contours(patient.masks, patient.affine_lps, sop_uids)
        structures = StructureOptions(
            description="RT STRUCTURES",
            sop_uids=sop_uids,
            image_sop_class=SOP_CLASSES[options.modality],
            manufacturer="LEPTON PLANNING",
        )
        path = folder / "rtstruct"
        return [write_contours(path, contours, patient.who, series_uid(patient), structures)]
    return []


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the export and its split; the folder can be given."""
    parser = argparse.ArgumentParser(description="Write the sample export.")
    default = Path(__file__).resolve().parent / "export"
    parser.add_argument("folder", nargs="?", type=Path, default=default)
    target = parser.parse_args(arguments).folder
    make_export(target)
    split = target.resolve().parent / "split.json"
    split.write_text(json.dumps(SPLIT, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
