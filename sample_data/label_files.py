"""Masks and polygons with a known truth as RTSTRUCT and SEG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, RTStructureSetStorage

from sample_data.dicom_files import (
    SOFTWARE,
    SOP_CLASSES,
    Identity,
    decimals,
    new_dataset,
    save,
    uid,
)
from sample_data.outlines import outlines

STUDY_CLASS = "1.2.840.10008.3.1.2.3.1"
"""Detached Study Management, what RTReferencedStudySequence names: PS3.6 table A-1 (2026a)."""


@dataclass(frozen=True)
class StructureOptions:
    """How an RTSTRUCT is written; `sop_uids` are the instances it says it refers to."""

    description: str = "RTSTRUCT"
    label: str = "CONTOURS"
    geometric_type: str = "CLOSED_PLANAR"
    interpreted_type: str = "GTV"
    sop_uids: Sequence[str] = ()
    image_sop_class: str = SOP_CLASSES["CT"]
    manufacturer: str = "LEPTON"


@dataclass(frozen=True, eq=False)
class PlanarContour:
    """Points ``(n, 3)``, LPS, mm, and the instance that they were drawn on."""

    points: NDArray[np.float64]
    sop_uid: str | None = None


@dataclass(frozen=True)
class SegOptions:
    """How a SEG is written; a segment without a code of its own is a neoplasm."""

    description: str = "SEG"
    manufacturer: str = "LEPTON"
    series_number: int = 200
    codes: Mapping[str, tuple[Code, Code]] = field(default_factory=dict)
    omit_empty_frames: bool = True
    segmentation_type: str = "BINARY"


MORPHOLOGY = Code("49755003", "SCT", "Morphologically Altered Structure")
NEOPLASM = Code("108369006", "SCT", "Neoplasm")


def write_rtstruct(
    path: Path,
    rois: Mapping[str, NDArray[np.bool_]],
    affine_lps: NDArray[np.float64],
    who: Identity,
    series_uid: str,
    sop_uids: Sequence[str],
) -> Path:
    """Write masks as contours whose even-odd fill at voxel centres gives the masks back.

    Parameters
    ----------
    path
        The file.
    rois
        Name to bool mask ``(i, j, k)``; several polygons of one slice combine by XOR.
    affine_lps
        Of the masks, voxel index to LPS, mm.
    who
        Patient, study and frame of reference.
    series_uid
        Of the image.
    sop_uids
        The image's instances, in the order of ``k``.
    """
    contours = mask_contours(rois, affine_lps, sop_uids)
    return write_contours(path, contours, who, series_uid, StructureOptions(sop_uids=tuple(sop_uids)))


def write_polygons_rtstruct(
    path: Path,
    contours: Mapping[str, Sequence[NDArray[np.float64]]],
    who: Identity,
    series_uid: str,
    options: StructureOptions | None = None,
) -> Path:
    """Write given contours, points ``(n, 3)`` in LPS, mm, of one geometric type."""
    drawn = {
        name: [PlanarContour(np.asarray(points, dtype=np.float64)) for points in several]
        for name, several in contours.items()
    }
    return write_contours(path, drawn, who, series_uid, options)


def mask_contours(
    rois: Mapping[str, NDArray[np.bool_]],
    affine_lps: NDArray[np.float64],
    sop_uids: Sequence[str],
) -> dict[str, list[PlanarContour]]:
    """Trace masks ``(i, j, k)`` slice by slice along the borders of their voxels."""
    return {
        name: [
            PlanarContour(_to_world(polygon, k, affine_lps), sop_uids[k])
            for k in range(mask.shape[2])
            for polygon in outlines(mask[:, :, k])
        ]
        for name, mask in rois.items()
    }


def write_contours(
    path: Path,
    contours: Mapping[str, Sequence[PlanarContour]],
    who: Identity,
    series_uid: str,
    options: StructureOptions | None = None,
) -> Path:
    """Write contours, each with the instance it belongs to."""
    options = options or StructureOptions()
    sop_uid = uid(series_uid, options.description, options.label, *contours)
    dataset = new_dataset(RTStructureSetStorage, sop_uid, ExplicitVRLittleEndian, who)
    dataset.Modality, dataset.Manufacturer = "RTSTRUCT", options.manufacturer
    dataset.SeriesInstanceUID = uid(sop_uid, "series")
    dataset.SeriesNumber, dataset.InstanceNumber = 100, 1
    dataset.SeriesDescription = options.description
    dataset.StructureSetLabel = options.label
    dataset.StructureSetDate, dataset.StructureSetTime = who.study_date, who.study_time
    dataset.ReferencedFrameOfReferenceSequence = _frame_of_reference(who, series_uid, options)
    rois, roi_contours, observations = [], [], []
    for number, (name, several) in enumerate(contours.items(), start=1):
        rois.append(_roi(number, name, who))
        roi_contours.append(_roi_contours(number, several, options))
        observations.append(
            _item(
                ObservationNumber=number,
                ReferencedROINumber=number,
                RTROIInterpretedType=options.interpreted_type,
                ROIInterpreter="",
            )
        )
    dataset.StructureSetROISequence = DicomSequence(rois)
    dataset.ROIContourSequence = DicomSequence(roi_contours)
    dataset.RTROIObservationsSequence = DicomSequence(observations)
    return save(dataset, path)


def write_seg(
    path: Path,
    rois: Mapping[str, NDArray[np.bool_]],
    source_files: Sequence[Path],
    options: SegOptions | None = None,
) -> Path:
    """Write masks ``(i, j, k)`` as segments of one SEG, by highdicom.

    Parameters
    ----------
    path
        The file.
    rois
        Segment label to bool mask.
    source_files
        The image's files, in the order of ``k``.
    options
        Everything else.
    """
    options = options or SegOptions()
    source = [dcmread(file) for file in source_files]
    frames = np.stack([mask.transpose(2, 1, 0) for mask in rois.values()], axis=-1)
    described = [_segment(number, name, options) for number, name in enumerate(rois, start=1)]
    sop_uid = uid(source[0].SeriesInstanceUID, options.description, *rois)
    dataset = hd.seg.Segmentation(
        source_images=source,
        pixel_array=frames.astype(np.uint8),
        segmentation_type=options.segmentation_type,
        segment_descriptions=described,
        series_instance_uid=uid(sop_uid, "series"),
        series_number=options.series_number,
        sop_instance_uid=sop_uid,
        instance_number=1,
        manufacturer=options.manufacturer,
        manufacturer_model_name="PHANTOM",
        software_versions=SOFTWARE,
        device_serial_number="1",
        omit_empty_frames=options.omit_empty_frames,
        series_description=options.description,
    )
    _without_clock(dataset, source[0])
    return save(dataset, path)


def _segment(number: int, name: str, options: SegOptions) -> hd.seg.SegmentDescription:
    category, kind = options.codes.get(name, (MORPHOLOGY, NEOPLASM))
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=category,
        segmented_property_type=kind,
        algorithm_type="MANUAL",
    )


def _without_clock(dataset: Dataset, source: Dataset) -> None:
    """Replace what highdicom takes from the clock, from chance and its own version."""
    for keyword in ("ContentDate", "SeriesDate", "InstanceCreationDate"):
        setattr(dataset, keyword, source.StudyDate)
    for keyword in ("ContentTime", "SeriesTime", "InstanceCreationTime"):
        setattr(dataset, keyword, source.StudyTime)
    del dataset.ContributingEquipmentSequence
    organization = uid(dataset.SOPInstanceUID, "dimension organization")
    for item in [*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence]:
        item.DimensionOrganizationUID = organization


def _to_world(polygon: NDArray[np.float64], k: int, affine_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    index = np.column_stack([polygon, np.full(len(polygon), k)])
    points: NDArray[np.float64] = index @ affine_lps[:3, :3].T + affine_lps[:3, 3]
    return points


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def _frame_of_reference(who: Identity, series_uid: str, options: StructureOptions) -> list[Dataset]:
    images = [_image(sop_uid, options) for sop_uid in options.sop_uids]
    series = _item(SeriesInstanceUID=series_uid)
    if images:
        series.ContourImageSequence = images
    study = _item(
        ReferencedSOPClassUID=STUDY_CLASS,
        ReferencedSOPInstanceUID=who.study_uid,
        RTReferencedSeriesSequence=[series],
    )
    frame = _item(FrameOfReferenceUID=who.frame_of_reference_uid, RTReferencedStudySequence=[study])
    return [frame]


def _image(sop_uid: str, options: StructureOptions) -> Dataset:
    return _item(ReferencedSOPClassUID=options.image_sop_class, ReferencedSOPInstanceUID=sop_uid)


def _roi(number: int, name: str, who: Identity) -> Dataset:
    return _item(
        ROINumber=number,
        ReferencedFrameOfReferenceUID=who.frame_of_reference_uid,
        ROIName=name,
        ROIGenerationAlgorithm="MANUAL",
    )


def _roi_contours(number: int, several: Sequence[PlanarContour], options: StructureOptions) -> Dataset:
    items = []
    for contour in several:
        item = _item(
            ContourGeometricType=options.geometric_type,
            NumberOfContourPoints=len(contour.points),
            ContourData=decimals(contour.points),
        )
        if contour.sop_uid is not None:
            item.ContourImageSequence = [_image(contour.sop_uid, options)]
        items.append(item)
    return _item(ReferencedROINumber=number, ROIDisplayColor=[255, 0, 0], ContourSequence=items)
