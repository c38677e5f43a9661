"""Masks as an RTSTRUCT, which planning systems open: PS3.3 A.19, C.8.8.5 and C.8.8.6."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage

from lepton_monai import __version__
from lepton_monai.core.errors import ObjectError
from lepton_monai.core.files import replacing
from lepton_monai.dicom import Series
from lepton_monai.dicom.dataset import read_head
from lepton_monai.dicom.header import Header
from lepton_monai.exports.dicom_object import (
    CHARACTER_SET,
    MANUFACTURER,
    REQUIRED,
    SERIES_NUMBER,
    Maker,
    writing,
)
from lepton_monai.exports.outlines import outlines
from lepton_monai.labels.labelset import Mask

_COPIED = ("StudyInstanceUID", "FrameOfReferenceUID", "IssuerOfPatientID", "StudyDescription")
"""Besides what is required: a PACS files the object by them."""

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management, retired, which RT Referenced Study Sequence still names."""

_DECIMALS = 4
"""Of a coordinate in mm: far below any voxel, and never more than the 16 characters of a DS."""

_COLOURS = ((255, 64, 64), (64, 192, 255), (255, 208, 48), (96, 224, 96), (224, 96, 224), (255, 144, 48))


def write_rtstruct(mask: Mask, series: Series, maker: Maker, path: Path) -> None:
    """Write every class as one ROI of closed planar contours.

    Parameters
    ----------
    mask
        On the grid of the series.
    series
        That it was made for: patient, study, frame of reference and slices are those of its headers.
    maker
        The model, and the classes. One without a voxel is an ROI without contours.
    path
        To make.

    Raises
    ------
    ObjectError
        The image has no frame of reference, or its header can't be read.
    """
    mask.grid.require_same(series.grid, "mask and series")
    if not series.identity.frame_of_reference_uid:
        message = "The RTSTRUCT can't be written: its image has no frame of reference."
        raise ObjectError(message)
    with writing("RTSTRUCT"):
        dataset = _about(read_head(series.headers[0].path))
        _add_equipment(dataset, series, maker)
        dataset.ReferencedFrameOfReferenceSequence = Items([_referenced(series)])
        rois = list(enumerate(maker.classes, start=1))
        dataset.StructureSetROISequence = Items([_roi(number, name, dataset) for number, name in rois])
        dataset.ROIContourSequence = Items(
            [_contours(number, mask.array == number, series) for number, _ in rois]
        )
        dataset.RTROIObservationsSequence = Items([_observation(number) for number, _ in rois])
        dataset.ApprovalStatus = "UNAPPROVED"
        with replacing(path) as temporary:
            dataset.save_as(temporary, enforce_file_format=True)


def _about(source: Any) -> FileDataset:
    """Begin an object of the same patient and study."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SpecificCharacterSet = CHARACTER_SET
    for keyword in (*REQUIRED, "PositionReferenceIndicator"):
        setattr(dataset, keyword, str(source.get(keyword) or ""))
    for keyword in _COPIED:
        if source.get(keyword):
            setattr(dataset, keyword, str(source.get(keyword)))
    return dataset


def _add_equipment(dataset: FileDataset, series: Series, maker: Maker) -> None:
    """Say what the object is, and what made it."""
    now = datetime.now().astimezone()
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = maker.uid(series, "RTSTRUCT")
    dataset.SeriesInstanceUID = maker.uid(series, "RTSTRUCT series")
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = (
        "RTSTRUCT",
        SERIES_NUMBER["RTSTRUCT"],
        1,
    )
    dataset.SeriesDescription = f"{MANUFACTURER}: {', '.join(maker.classes)}"[:64]
    dataset.OperatorsName = ""
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = __version__, maker.serial_number
    dataset.StructureSetLabel = MANUFACTURER
    dataset.StructureSetDate = dataset.InstanceCreationDate = now.strftime("%Y%m%d")
    dataset.StructureSetTime = dataset.InstanceCreationTime = now.strftime("%H%M%S")


def _referenced(series: Series) -> Dataset:
    identity = series.identity
    instances = dict.fromkeys((one.identity.class_uid, one.identity.instance_uid) for one in series.headers)
    images = [
        _item(ReferencedSOPClassUID=of_class, ReferencedSOPInstanceUID=uid) for of_class, uid in instances
    ]
    inside = _item(SeriesInstanceUID=series.uid, ContourImageSequence=Items(images))
    study = _item(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=identity.study_uid,
        RTReferencedSeriesSequence=Items([inside]),
    )
    return _item(
        FrameOfReferenceUID=identity.frame_of_reference_uid, RTReferencedStudySequence=Items([study])
    )


def _roi(number: int, name: str, dataset: Dataset) -> Dataset:
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=dataset.FrameOfReferenceUID,
        ROIName=name[:64],
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIGenerationDescription=f"{MANUFACTURER} {__version__}",
    )


def _observation(number: int) -> Dataset:
    return _item(
        ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter=""
    )


def _contours(number: int, inside: NDArray[np.bool_], series: Series) -> Dataset:
    item = _item(ReferencedROINumber=number, ROIDisplayColor=list(_COLOURS[(number - 1) % len(_COLOURS)]))
    drawn = list(_drawn(inside, series.slices(), series))
    if drawn:
        item.ContourSequence = Items(drawn)
    return item


def _drawn(inside: NDArray[np.bool_], slices: Sequence[Header | None], series: Series) -> Iterator[Dataset]:
    """Yield the contours of one ROI, each with the image that it lies on."""
    number = 0
    for k in np.flatnonzero(inside.any(axis=(0, 1))).tolist():
        for polygon in outlines(inside[:, :, k]):
            number += 1
            points = series.grid.to_world(np.column_stack([polygon, np.full(len(polygon), k)]))
            contour = _item(
                ContourNumber=number,
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                ContourData=np.round(points, _DECIMALS).ravel().tolist(),
            )
            header = slices[k]
            if header is not None:
                contour.ContourImageSequence = Items([_image(header, series)])
            yield contour


def _image(header: Header, series: Series) -> Dataset:
    item = _item(
        ReferencedSOPClassUID=header.identity.class_uid,
        ReferencedSOPInstanceUID=header.identity.instance_uid,
    )
    if header.tile is None and _has_frames(series):
        item.ReferencedFrameNumber = header.frame + 1
    return item


def _has_frames(series: Series) -> bool:
    return len({header.file for header in series.headers}) < len(series.headers)


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item
