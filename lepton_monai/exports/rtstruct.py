"""Masks as an RTSTRUCT, which planning systems open: PS3.3 A.19, C.8.8.5 and C.8.8.6."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ImplicitVRLittleEndian, RTStructureSetStorage

from lepton_monai.dicom.dataset import read_head
from lepton_monai.dicom.header import Header
from lepton_monai.exports.dicom_object import (
    MANUFACTURER,
    REQUIRED,
    SERIES_NUMBER,
    Prediction,
    foreign_header,
    item,
    save,
)
from lepton_monai.exports.outlines import outlines
from lepton_monai.labels.codes import ClassCodes

_COPIED = (*REQUIRED, "StudyInstanceUID", "FrameOfReferenceUID", "IssuerOfPatientID", "StudyDescription")
"""What a PACS files the object by."""

_STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management, retired, which RT Referenced Study Sequence still names."""

_DECIMALS = 4
"""Of a coordinate in mm: far below any voxel, and never more than the 16 characters of a DS."""

_COLOURS = ((255, 64, 64), (64, 192, 255), (255, 208, 48), (96, 224, 96), (224, 96, 224), (255, 144, 48))


def write_rtstruct(prediction: Prediction, path: Path) -> None:
    """Write every class as one ROI of closed planar contours.

    Parameters
    ----------
    prediction
        A class without a voxel is an ROI without contours.
    path
        To make.

    Raises
    ------
    ObjectError
        The image's header lacks what the object refers to it by, or can't be read.
    """
    prediction.require_identity("RTSTRUCT")
    with foreign_header("RTSTRUCT"):
        dataset = _about(read_head(prediction.series.headers[0].path))
    _add_equipment(dataset, prediction)
    dataset.ReferencedFrameOfReferenceSequence = Items([_referenced(prediction)])
    rois = list(enumerate(prediction.classes, start=1))
    dataset.StructureSetROISequence = Items(
        [_roi(number, name, dataset, prediction.version) for number, name in rois]
    )
    dataset.ROIContourSequence = Items([_contours(number, prediction) for number, _ in rois])
    dataset.RTROIObservationsSequence = Items(
        [_observation(number, prediction.codes.get(name)) for number, name in rois]
    )
    dataset.ApprovalStatus = "UNAPPROVED"
    with foreign_header("RTSTRUCT"):
        save(dataset, path)


def _about(source: Any) -> FileDataset:
    """Begin an object of the same patient and study."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = RTStructureSetStorage
    # A contour of more than some 2,500 points is longer than an explicit VR can say of a DS.
    meta.TransferSyntaxUID = ImplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword in _COPIED:
        if keyword in source:
            dataset[keyword] = source[keyword]
        elif keyword in REQUIRED:
            setattr(dataset, keyword, "")
    dataset.PositionReferenceIndicator = source.get("PositionReferenceIndicator") or ""
    return dataset


def _add_equipment(dataset: FileDataset, prediction: Prediction) -> None:
    """Say what the object is, and what made it."""
    now = datetime.now().astimezone()
    dataset.SOPClassUID = RTStructureSetStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = prediction.uid("RTSTRUCT")
    dataset.SeriesInstanceUID = prediction.uid("RTSTRUCT series")
    dataset.Modality = "RTSTRUCT"
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBER["RTSTRUCT"], 1
    dataset.SeriesDescription = prediction.description
    dataset.OperatorsName = ""
    dataset.Manufacturer = dataset.ManufacturerModelName = MANUFACTURER
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = prediction.version, prediction.serial_number
    dataset.StructureSetLabel = MANUFACTURER
    dataset.StructureSetDate = dataset.InstanceCreationDate = now.strftime("%Y%m%d")
    dataset.StructureSetTime = dataset.InstanceCreationTime = now.strftime("%H%M%S")


def _referenced(prediction: Prediction) -> Dataset:
    series, identity = prediction.series, prediction.series.identity
    instances = dict.fromkeys((one.identity.class_uid, one.identity.instance_uid) for one in series.headers)
    images = [
        item(ReferencedSOPClassUID=of_class, ReferencedSOPInstanceUID=uid) for of_class, uid in instances
    ]
    inside = item(SeriesInstanceUID=series.uid, ContourImageSequence=Items(images))
    study = item(
        ReferencedSOPClassUID=_STUDY_CLASS,
        ReferencedSOPInstanceUID=identity.study_uid,
        RTReferencedSeriesSequence=Items([inside]),
    )
    return item(
        FrameOfReferenceUID=identity.frame_of_reference_uid, RTReferencedStudySequence=Items([study])
    )


def _roi(number: int, name: str, dataset: Dataset, version: str) -> Dataset:
    return item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=dataset.FrameOfReferenceUID,
        ROIName=name,
        ROIGenerationAlgorithm="AUTOMATIC",
        ROIGenerationDescription=f"{MANUFACTURER} {version}",
    )


def _observation(number: int, codes: ClassCodes | None) -> Dataset:
    made = item(
        ObservationNumber=number, ReferencedROINumber=number, RTROIInterpretedType="", ROIInterpreter=""
    )
    if codes is not None:
        value, scheme, meaning = codes.kind
        coded = item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)
        made.RTROIIdentificationCodeSequence = Items([coded])
    return made


def _contours(number: int, prediction: Prediction) -> Dataset:
    colour = list(_COLOURS[(number - 1) % len(_COLOURS)])
    roi = item(ReferencedROINumber=number, ROIDisplayColor=colour)
    drawn = list(_drawn(number, prediction))
    if drawn:
        roi.ContourSequence = Items(drawn)
    return roi


def _drawn(number: int, prediction: Prediction) -> Iterator[Dataset]:
    """Yield the contours of one ROI, each with the image that it lies on."""
    inside, slices = prediction.mask.array == number, prediction.series.slices()
    count = 0
    for k in np.flatnonzero(inside.any(axis=(0, 1))).tolist():
        for polygon in outlines(inside[:, :, k]):
            count += 1
            index = np.column_stack([polygon, np.full(len(polygon), k)])
            points = np.round(prediction.series.grid.to_world(index), _DECIMALS)
            contour = item(
                ContourNumber=count,
                ContourGeometricType="CLOSED_PLANAR",
                NumberOfContourPoints=len(points),
                ContourData=points.ravel().tolist(),
            )
            header = slices[k]
            if header is not None:
                contour.ContourImageSequence = Items([_image(header)])
            yield contour


def _image(header: Header) -> Dataset:
    image = item(
        ReferencedSOPClassUID=header.identity.class_uid,
        ReferencedSOPInstanceUID=header.identity.instance_uid,
    )
    if header.layout.frames > 1:
        image.ReferencedFrameNumber = header.frame + 1
    return image
