"""Volumes as a structured report that names the segments they are of: PS3.16 TID 1500, by highdicom."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import SegmentationStorage

from lepton_monai.core.files import replacing
from lepton_monai.dicom import Series
from lepton_monai.exports.dicom_object import (
    CHARACTER_SET,
    MANUFACTURER,
    SERIES_NUMBER,
    Maker,
    source_image,
    writing,
)
from lepton_monai.labels.labelset import Mask

_DIGITS = 3
"""Of a volume in cm3, which is a ml: a voxel of 0.1 mm is a millionth of one."""


def write_sr(mask: Mask, series: Series, maker: Maker, path: Path) -> None:
    """Write the volume of every class, in ml, as a Comprehensive SR.

    Parameters
    ----------
    mask
        On the grid of the series.
    series
        That it was made for: patient and study are those of its headers.
    maker
        The model, and the classes; the SEG that it makes of the mask is the one that is referred to.
    path
        To make.

    Raises
    ------
    ObjectError
        The source's header lacks what a report needs.
    """
    from highdicom import sr  # here, since nothing else needs it: 0.3 s
    from pydicom.sr.codedict import codes

    with writing("SR"):
        groups = [
            _measured(number, name, mask, series, maker)
            for number, name in enumerate(maker.classes, start=1)
        ]
        device = sr.DeviceObserverIdentifyingAttributes(
            uid=maker.device_uid,
            name=MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=MANUFACTURER,
            serial_number=maker.serial_number,
        )
        content = sr.MeasurementReport(
            observation_context=sr.ObservationContext(
                observer_device_context=sr.ObserverContext(codes.DCM.Device, device)
            ),
            procedure_reported=codes.SCT.ImagingProcedure,
            imaging_measurements=groups,
            title=codes.DCM.ImagingMeasurementReport,
        )
        made = sr.ComprehensiveSR(
            evidence=[_seg_of(series, maker)],
            content=content[0],
            series_instance_uid=maker.uid(series, "SR series"),
            series_number=SERIES_NUMBER["SR"],
            sop_instance_uid=maker.uid(series, "SR"),
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            series_description=f"{MANUFACTURER}: {', '.join(maker.classes)}"[:64],
        )
        made.SpecificCharacterSet = CHARACTER_SET
        with replacing(path) as temporary:
            made.save_as(temporary, enforce_file_format=True)


def _measured(number: int, name: str, mask: Mask, series: Series, maker: Maker) -> Any:
    """Return the group of one class: PS3.16 TID 1411."""
    from highdicom import sr
    from pydicom.sr.codedict import codes

    volume = float(np.count_nonzero(mask.array == number)) * mask.grid.voxel_volume_ml
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=maker.uid(series, f"tracking {number}"), identifier=name
        ),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=SegmentationStorage,
            sop_instance_uid=maker.uid(series, "SEG"),
            segment_number=number,
            source_series=sr.SourceSeriesForSegmentation(series.uid),
        ),
        finding_type=codes.SCT.Tissue,  # of what kind it is nobody has said: as in the SEG
        measurements=[
            sr.Measurement(
                name=codes.SCT.Volume, value=round(volume, _DIGITS), unit=codes.UCUM.CubicCentimeter
            )
        ],
    )


def _seg_of(series: Series, maker: Maker) -> Any:
    """Return what names the SEG, with patient and study."""
    evidence = source_image(series.headers[0].path)
    evidence.SOPClassUID = SegmentationStorage
    evidence.SOPInstanceUID = maker.uid(series, "SEG")
    evidence.SeriesInstanceUID = maker.uid(series, "SEG series")
    return evidence
