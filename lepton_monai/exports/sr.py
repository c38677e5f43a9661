"""Volumes as a structured report that names the segments they are of: PS3.16 TID 1500, by highdicom."""

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.uid import SegmentationStorage

from lepton_monai.exports.dicom_object import (
    MANUFACTURER,
    SERIES_NUMBER,
    Prediction,
    foreign_header,
    save,
    source_image,
)
from lepton_monai.labels.codes import UNTOLD

_DIGITS = 6
"""That count, of a volume: a single small voxel is no zero."""


def write_sr(prediction: Prediction, path: Path) -> None:
    """Write the volume of every class, in cm3, as a Comprehensive SR.

    Parameters
    ----------
    prediction
        The SEG that is written of it is the one that is referred to.
    path
        To make.

    Raises
    ------
    ObjectError
        The image's header lacks what a report needs.
    """
    from highdicom import sr  # here, since nothing else needs it: 0.3 s
    from pydicom.sr.codedict import codes

    prediction.require_identity("SR")
    groups = [_measured(*one, prediction) for one in enumerate(prediction.classes, start=1)]
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=prediction.uid("device"),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=MANUFACTURER,
        serial_number=prediction.serial_number,
    )
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(
            observer_device_context=sr.ObserverContext(codes.DCM.Device, device)
        ),
        procedure_reported=codes.SCT.ImagingProcedure,
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )
    with foreign_header("SR"):
        made = sr.ComprehensiveSR(
            evidence=[_seg_of(prediction)],
            content=content[0],
            series_instance_uid=prediction.uid("SR series"),
            series_number=SERIES_NUMBER["SR"],
            sop_instance_uid=prediction.uid("SR"),
            instance_number=1,
            manufacturer=MANUFACTURER,
            is_complete=True,
            series_description=prediction.description,
        )
        save(made, path)


def _measured(number: int, name: str, prediction: Prediction) -> Any:
    """Return the group of one class: PS3.16 TID 1411."""
    from highdicom import sr
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    told = prediction.codes.get(name, UNTOLD)
    mask = prediction.mask
    volume = float(np.count_nonzero(mask.array == number)) * mask.grid.voxel_volume_ml
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=prediction.uid(f"tracking {number}"), identifier=name
        ),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=SegmentationStorage,
            sop_instance_uid=prediction.uid("SEG"),
            segment_number=number,
            source_series=sr.SourceSeriesForSegmentation(prediction.series.uid),
        ),
        finding_category=Code(*told.category),
        finding_type=Code(*told.kind),
        measurements=[
            sr.Measurement(
                name=codes.SCT.Volume,
                value=float(f"{volume:.{_DIGITS}g}"),
                unit=codes.UCUM.CubicCentimeter,
            )
        ],
    )


def _seg_of(prediction: Prediction) -> Any:
    """Return what names the SEG, with patient and study."""
    evidence = source_image(prediction.series.headers[0].path)
    evidence.SOPClassUID = SegmentationStorage
    evidence.SOPInstanceUID = prediction.uid("SEG")
    evidence.SeriesInstanceUID = prediction.uid("SEG series")
    return evidence
