"""Masks as a DICOM SEG, which viewers lay over its image: PS3.3 A.51 and C.8.20, by highdicom."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from lepton_monai import __version__
from lepton_monai.core.errors import ObjectError
from lepton_monai.core.files import replacing
from lepton_monai.dicom import Series
from lepton_monai.dicom.header import Header
from lepton_monai.exports.dicom_object import (
    CHARACTER_SET,
    MANUFACTURER,
    SERIES_NUMBER,
    Maker,
    source_image,
    writing,
)
from lepton_monai.labels.labelset import Mask


def write_seg(mask: Mask, series: Series, maker: Maker, path: Path) -> None:
    """Write every class as one binary segment.

    Parameters
    ----------
    mask
        On the grid of the series.
    series
        That it was made for: patient, study, frame of reference and places are those of its headers.
    maker
        The model, and the classes. One without a voxel is a segment without frames.
    path
        To make.

    Raises
    ------
    ObjectError
        The slices are the tiles of a mosaic, or frames of several files, or the source's header lacks
        what a SEG needs.
    """
    import highdicom  # here, since nothing else needs it: 0.3 s

    mask.grid.require_same(series.grid, "mask and series")
    with writing("SEG"):
        source = _source(series)
        places = [k for k, header in enumerate(series.slices()) if header is not None]
        frames = np.asarray(mask.array).transpose(2, 1, 0)[places]
        numbers = range(1, len(maker.classes) + 1)
        segments = np.stack([frames == number for number in numbers], axis=-1)
        made = highdicom.seg.Segmentation(
            source_images=source,
            pixel_array=segments,
            segmentation_type="BINARY",
            segment_descriptions=[_segment(number, name) for number, name in enumerate(maker.classes, 1)],
            series_instance_uid=maker.uid(series, "SEG series"),
            series_number=SERIES_NUMBER["SEG"],
            sop_instance_uid=maker.uid(series, "SEG"),
            instance_number=1,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            software_versions=__version__,
            device_serial_number=maker.serial_number,
            content_label="SEGMENTATION",
            series_description=f"{MANUFACTURER}: {', '.join(maker.classes)}"[:64],
            omit_empty_frames=bool(segments.any()),  # it refuses to omit every frame
        )
        _name_frames(made, series.headers)
        made.SpecificCharacterSet = CHARACTER_SET
        with replacing(path) as temporary:
            made.save_as(temporary, enforce_file_format=True)


def _segment(number: int, name: str) -> Any:
    """Describe a class: of what kind it is nobody has said, so it is tissue, as 3D Slicer has it."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription
    from pydicom.sr.codedict import codes

    return SegmentDescription(
        segment_number=number,
        segment_label=name[:64],
        segmented_property_category=codes.SCT.Tissue,
        segmented_property_type=codes.SCT.Tissue,
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=MANUFACTURER, family=codes.DCM.ArtificialIntelligence, version=__version__
        ),
    )


def _source(series: Series) -> list[Any]:
    """Return the images without their pixels, in the order of the slices; frames of one file as one."""
    if any(header.tile is not None for header in series.headers):
        message = "The SEG can't be written: the slices are tiles of a mosaic, which no SEG can refer to."
        raise ObjectError(message)
    files = list(dict.fromkeys(header.file for header in series.headers))
    if len(files) == len(series.headers):
        return [source_image(header.path) for header in series.headers]
    if len(files) > 1:
        message = "The SEG can't be written: its image lies in several files of many frames."
        raise ObjectError(message)
    return [_of_frames(source_image(series.headers[0].path), series)]


def _of_frames(source: Any, series: Series) -> Any:
    """Leave a file the frames of the series, with spacing and direction where highdicom looks for them."""
    groups = [source.PerFrameFunctionalGroupsSequence[header.frame] for header in series.headers]
    source.PerFrameFunctionalGroupsSequence, source.NumberOfFrames = groups, len(groups)
    if "SharedFunctionalGroupsSequence" not in source:
        source.SharedFunctionalGroupsSequence = [Dataset()]
    shared = source.SharedFunctionalGroupsSequence[0]
    for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        if keyword not in shared:
            shared[keyword] = groups[0][keyword]
    return source


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
