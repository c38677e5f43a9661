"""Masks as a DICOM SEG, which viewers lay over its image: PS3.3 A.51 and C.8.20, by highdicom."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.valuerep import DS

from lepton_monai.core.errors import ObjectError
from lepton_monai.core.grid import Grid
from lepton_monai.dicom import Series
from lepton_monai.dicom.header import Header
from lepton_monai.exports.dicom_object import (
    MANUFACTURER,
    SERIES_NUMBER,
    Prediction,
    foreign_header,
    item,
    save,
    source_image,
)
from lepton_monai.labels.codes import UNTOLD

_MANY_FRAMES = "PerFrameFunctionalGroupsSequence"


def write_seg(prediction: Prediction, path: Path) -> None:
    """Write every class as one binary segment.

    Parameters
    ----------
    prediction
        A class without a voxel is a segment without frames; where no class has one, all frames are there
        and empty.
    path
        To make.

    Raises
    ------
    ObjectError
        The slices are tiles of a mosaic or frames of several files, or the image's header lacks what a SEG
        needs.
    """
    import highdicom  # here, since nothing else needs it: 0.3 s

    series = prediction.series
    prediction.require_identity("SEG")
    places = [k for k, header in enumerate(series.slices()) if header is not None]
    frames = np.asarray(prediction.mask.array, dtype=np.uint8).transpose(2, 1, 0)[places]
    with foreign_header("SEG"):
        source = _source(series, places)
        made = highdicom.seg.Segmentation(
            source_images=source,
            pixel_array=frames,
            segmentation_type="BINARY",
            segment_descriptions=[
                _segment(*one, prediction) for one in enumerate(prediction.classes, start=1)
            ],
            series_instance_uid=prediction.uid("SEG series"),
            series_number=SERIES_NUMBER["SEG"],
            sop_instance_uid=prediction.uid("SEG"),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=prediction.version,
            device_serial_number=prediction.serial_number,
            content_label="SEGMENTATION",
            series_description=prediction.description,
            omit_empty_frames=bool(frames.any()),  # it refuses to omit every frame
        )
        _name_frames(made, series.headers)
        save(made, path)


def _segment(number: int, name: str, prediction: Prediction) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    told = prediction.codes.get(name, UNTOLD)
    return SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=Code(*told.category),
        segmented_property_type=Code(*told.kind),
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=MANUFACTURER, family=codes.DCM.ArtificialIntelligence, version=prediction.version
        ),
    )


def _source(series: Series, places: Sequence[int]) -> list[Any]:
    """Return the images without their pixels, in the order of the slices; frames of one file as one.

    Where they lie is what the grid says: a header's own spacing or thickness may deny its positions.
    """
    if any(header.tile is not None for header in series.headers):
        message = "The SEG can't be written: the slices are tiles of a mosaic, which no SEG can refer to."
        raise ObjectError(message)
    files = list(dict.fromkeys(header.file for header in series.headers))
    first = source_image(series.headers[0].path)
    if _MANY_FRAMES not in first:
        images = [first, *(source_image(header.path) for header in series.headers[1:])]
        for image, k in zip(images, places, strict=True):
            _set(image, _position(series.grid, k) | _orientation(series.grid) | _measures(series.grid))
        return images
    if len(files) > 1:
        message = "The SEG can't be written: its image lies in several files of frames."
        raise ObjectError(message)
    return [_of_frames(first, series, places)]


def _of_frames(source: Any, series: Series, places: Sequence[int]) -> Any:
    """Leave a file the frames of the series; spacing and direction stand where highdicom looks for them."""
    groups = [source[_MANY_FRAMES][header.frame] for header in series.headers]
    for group, k in zip(groups, places, strict=True):
        group.PlanePositionSequence = [item(**_position(series.grid, k))]
        for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
            if keyword in group:
                del group[keyword]
    source.PerFrameFunctionalGroupsSequence, source.NumberOfFrames = groups, len(groups)
    if "SharedFunctionalGroupsSequence" not in source:
        source.SharedFunctionalGroupsSequence = [item()]
    shared = source.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence = [item(**_measures(series.grid))]
    shared.PlaneOrientationSequence = [item(**_orientation(series.grid))]
    return source


def _set(image: Any, values: dict[str, Any]) -> None:
    for keyword, value in values.items():
        setattr(image, keyword, value)


def _position(grid: Grid, k: int) -> dict[str, Any]:
    return {"ImagePositionPatient": _decimals(grid.to_world([0, 0, k]))}


def _orientation(grid: Grid) -> dict[str, Any]:
    directions = grid.affine[:3, :2] / np.array(grid.spacing_mm[:2])
    return {"ImageOrientationPatient": _decimals(directions.T.ravel())}


def _measures(grid: Grid) -> dict[str, Any]:
    column_mm, row_mm, slice_mm = grid.spacing_mm
    # The first is the distance between rows, so along j: PS3.3 10.7.1.3.
    measures = {"PixelSpacing": _decimals([row_mm, column_mm])}
    (thickness,) = _decimals([slice_mm])
    return {**measures, "SliceThickness": thickness, "SpacingBetweenSlices": thickness}


def _decimals(numbers: Any) -> list[Any]:
    return [DS(float(number), auto_format=True) for number in numbers]


def _name_frames(made: Any, headers: Sequence[Header]) -> None:
    """Give the frames that are referred to the numbers that they have in their file."""
    images = {
        id(image): image  # frames of two segments may share one item
        for group in made.PerFrameFunctionalGroupsSequence
        for derived in group.get("DerivationImageSequence") or []
        for image in derived.SourceImageSequence
        if "ReferencedFrameNumber" in image
    }
    for image in images.values():
        image.ReferencedFrameNumber = headers[int(image.ReferencedFrameNumber) - 1].frame + 1
