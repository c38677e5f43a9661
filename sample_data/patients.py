"""The patients of the sample export: a table, and what a scanner and its vendor make of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from scipy.spatial.transform import Rotation

from sample_data.anatomy import Array, draw_body, heart
from sample_data.dicom_files import Identity, identity
from sample_data.lesions import with_lesions
from sample_data.scanner import grid_points, scan_ct, scan_mr

SEED = 20240

DIRECTIONS: dict[str, list[list[float]]] = {
    "axial": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "axial, from the head down": [[1, 0, 0], [0, 1, 0], [0, 0, -1]],
    "axial, feet first": [[-1, 0, 0], [0, 1, 0], [0, 0, -1]],
    "oblique": Rotation.from_euler("xz", [9.0, 5.0], degrees=True).as_matrix().T.tolist(),
    "coronal": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
    "sagittal": [[0, 1, 0], [0, 0, -1], [-1, 0, 0]],
}
"""Directions of i, j and k in LPS."""

CENTRE_MM = (0.0, 8.0, 4.0)


@dataclass(frozen=True)
class Vendor:
    """How a manufacturer stores a CT, and the scale of its MR."""

    manufacturer: str
    models: Mapping[str, str]
    dtype: type[np.integer[Any]]
    bits_stored: int
    intercept: float
    padding: int | None = None
    mr_scale: float = 1000.0
    mr_slope: float = 1.0
    extra: Mapping[str, object] = field(default_factory=dict)


VENDORS = {
    "GE": Vendor(
        manufacturer="GE MEDICAL SYSTEMS",
        models={"CT": "LightSpeed VCT", "MR": "SIGNA HDxt"},
        dtype=np.int16,
        bits_stored=16,
        intercept=-1024.0,
        padding=-2000,
        extra={"ConvolutionKernel": "STANDARD", "GantryDetectorTilt": "0"},
    ),
    "SIEMENS": Vendor(
        manufacturer="SIEMENS",
        models={"CT": "SOMATOM Definition AS", "MR": "MAGNETOM Aera"},
        dtype=np.uint16,
        bits_stored=12,
        intercept=-1024.0,
        mr_scale=640.0,
        extra={"ConvolutionKernel": "B31f", "DataCollectionDiameter": "500"},
    ),
    "Philips": Vendor(
        manufacturer="Philips",
        models={"CT": "Brilliance 64", "MR": "Ingenia"},
        dtype=np.uint16,
        bits_stored=12,
        intercept=-1000.0,
        mr_scale=3900.0,
        mr_slope=2.3504,
        extra={"ConvolutionKernel": "B", "ProtocolName": "THORAX ROUTINE"},
    ),
    "TOSHIBA": Vendor(
        manufacturer="TOSHIBA",
        models={"CT": "Aquilion"},
        dtype=np.int16,
        bits_stored=13,
        intercept=0.0,
        extra={"ConvolutionKernel": "FC08", "ReconstructionDiameter": "400"},
    ),
}


@dataclass(frozen=True)
class PatientPlan:
    """One row of the table. `truth` is RTSTRUCT, SEG or empty; `heart` says a second region."""

    number: int
    vendor: str
    orientation: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    transfer_syntax: str = JPEGLSLossless
    truth: str = "RTSTRUCT"
    modality: str = "CT"
    heart: bool = False
    trouble: str = ""

    @property
    def patient_id(self) -> str:
        """The identifier in every file."""
        return f"LEP-{self.number:04d}"


UP, DOWN, FEET = "axial", "axial, from the head down", "axial, feet first"

PLANS = (
    PatientPlan(1, "GE", UP, (80, 80, 36), (4.6, 4.6, 5.5)),
    PatientPlan(2, "SIEMENS", UP, (76, 76, 37), (4.8, 4.8, 5.2)),
    PatientPlan(3, "Philips", DOWN, (72, 72, 37), (5.0, 5.0, 5.2), heart=True),
    PatientPlan(4, "TOSHIBA", UP, (80, 80, 33), (4.6, 4.6, 6.0), truth="SEG"),
    PatientPlan(5, "GE", DOWN, (80, 80, 36), (4.7, 4.7, 5.5), truth="SEG", heart=True),
    PatientPlan(6, "SIEMENS", FEET, (76, 76, 36), (4.8, 4.8, 5.5)),
    PatientPlan(7, "Philips", UP, (66, 66, 33), (5.5, 5.5, 5.8), ImplicitVRLittleEndian),
    PatientPlan(8, "TOSHIBA", DOWN, (80, 80, 33), (4.5, 4.5, 6.0), trouble="duplicate"),
    PatientPlan(9, "SIEMENS", "oblique", (80, 80, 37), (4.6, 4.6, 5.5), truth="SEG"),
    PatientPlan(10, "Philips", "sagittal", (54, 43, 60), (4.8, 4.6, 6.1)),
    PatientPlan(11, "Philips", "coronal", (78, 41, 41), (4.7, 5.0, 6.0), JPEG2000Lossless),
    PatientPlan(12, "TOSHIBA", UP, (76, 76, 36), (4.8, 4.8, 5.5), trouble="localizer"),
    PatientPlan(13, "SIEMENS", UP, (80, 80, 36), (4.6, 4.6, 5.5)),
    PatientPlan(14, "GE", DOWN, (76, 76, 38), (4.9, 4.9, 5.2), truth="SEG"),
    PatientPlan(15, "Philips", FEET, (76, 76, 34), (4.9, 4.9, 5.8)),
    PatientPlan(16, "TOSHIBA", UP, (72, 72, 36), (5.0, 5.0, 5.6), DeflatedExplicitVRLittleEndian, "SEG"),
    PatientPlan(17, "SIEMENS", UP, (72, 64, 30), (5.0, 5.0, 6.5), modality="MR"),
    PatientPlan(18, "Philips", "coronal", (72, 42, 30), (5.0, 4.9, 8.0), truth="SEG", modality="MR"),
    PatientPlan(18, "GE", UP, (52, 52, 20), (7.2, 7.2, 9.5), RLELossless, truth=""),
    PatientPlan(
        *(19, "GE", UP, (52, 52, 20), (7.2, 7.2, 9.5), ExplicitVRBigEndian),
        trouble="missing slice",
    ),
    PatientPlan(
        *(20, "TOSHIBA", UP, (48, 48, 18), (7.6, 7.6, 10.5), ExplicitVRLittleEndian),
        trouble="truncated pixels",
    ),
)
"""Sixteen CT patients with truth, two MR patients (one with a CT as well), two that are broken."""

SPLIT = {
    "train": [f"LEP-{number:04d}" for number in range(1, 13)],
    "test": [f"LEP-{number:04d}" for number in range(13, 17)],
}


@dataclass(frozen=True, eq=False)
class SamplePatient:
    """A patient as the files say: stored values ``(i, j, k)`` and the truth about them.

    `values` is HU (CT) or a unit of signal (MR): stored values after slope and intercept.
    `valid` is False where a vendor padded the corners outside its circle of reconstruction.
    """

    plan: PatientPlan
    who: Identity
    affine_lps: Array
    stored: NDArray[np.integer[Any]]
    slope: float
    intercept: float
    valid: NDArray[np.bool_]
    masks: Mapping[str, NDArray[np.bool_]]

    @property
    def values(self) -> Array:
        """Values after slope and intercept, float64."""
        return self.stored.astype(np.float64) * self.slope + self.intercept

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Lesions: a voxel whose centre lies in one."""
        return self.masks["GTV"]


def sample_patients(plans: tuple[PatientPlan, ...] = PLANS) -> Iterator[SamplePatient]:
    """Yield every patient of the table, complete, before any trouble is made."""
    for plan in plans:
        yield sample_patient(plan)


def usable_ct_plans() -> tuple[PatientPlan, ...]:
    """Return the CT patients of the split."""
    return tuple(plan for plan in PLANS if plan.patient_id in SPLIT["train"] + SPLIT["test"])


def affine_of(plan: PatientPlan) -> Array:
    """Return the voxel index to LPS matrix of a plan, its grid centred on the chest."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(DIRECTIONS[plan.orientation]).T * plan.spacing_mm
    middle = (np.array(plan.shape) - 1.0) / 2.0
    # Two decimals, as scanners write table positions.
    affine[:3, 3] = np.round(np.array(CENTRE_MM) - affine[:3, :3] @ middle, 2)
    return affine


def sample_patient(plan: PatientPlan) -> SamplePatient:
    """Draw the body of a plan and scan it."""
    rng = np.random.default_rng([SEED, plan.number])
    body = with_lesions(draw_body(rng), rng)
    affine_lps = affine_of(plan)
    vendor = VENDORS[plan.vendor]
    valid = np.ones(plan.shape, dtype=bool)
    if plan.modality == "MR":
        scan = scan_mr(body, plan.shape, affine_lps, rng)
        slope, intercept = vendor.mr_slope, 0.0
        stored = np.round(scan.values * vendor.mr_scale / slope).clip(0, 4095).astype(np.uint16)
    else:
        scan = scan_ct(body, plan.shape, affine_lps, rng)
        slope, intercept = 1.0, vendor.intercept
        lowest, highest = (0, 4095) if vendor.bits_stored == 12 else (-1024, 3071)
        counts = np.round(scan.values - intercept).clip(lowest, highest)
        if vendor.padding is not None:
            valid = _circle(plan.shape)
            counts[~valid] = vendor.padding
        stored = counts.astype(vendor.dtype)
    masks = {"GTV": scan.mask}
    if plan.heart:
        inside = heart(body, grid_points(plan.shape, affine_lps)) <= 0.0
        masks["HEART"] = inside.reshape(plan.shape) & ~scan.mask
    return SamplePatient(plan, _identity(plan, rng), affine_lps, stored, slope, intercept, valid, masks)


def _circle(shape: tuple[int, int, int]) -> NDArray[np.bool_]:
    i, j, _ = np.ogrid[tuple(map(slice, shape))]
    middle_i, middle_j = (shape[0] - 1) / 2.0, (shape[1] - 1) / 2.0
    inside = ((i - middle_i) / shape[0]) ** 2 + ((j - middle_j) / shape[1]) ** 2 <= 0.25
    return np.broadcast_to(inside, shape).copy()


def _identity(plan: PatientPlan, rng: np.random.Generator) -> Identity:
    month, day = (int(number) for number in rng.integers(1, 13, 2))
    return identity(
        f"{plan.patient_id} {plan.modality}",
        patient_id=plan.patient_id,
        patient_name=f"SYNTHETIC^PATIENT {plan.number:02d}",
        birth_date=f"{1940 + 2 * plan.number}{month:02d}{day:02d}",
        sex="FM"[plan.number % 2],
        study_date=f"2024{month:02d}{day + 10:02d}",
        study_time=f"{7 + plan.number // 2:02d}3000",
        study_description=f"{plan.modality} THORAX",
        accession_number=f"LEP{plan.number:05d}{plan.modality}",
    )
