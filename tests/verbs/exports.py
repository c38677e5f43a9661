"""Tiny exports for whole runs: bright balls on CT, one a patient, with RTSTRUCT."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from lepton_monai.config.load import load_config
from lepton_monai.config.schema import Config
from sample_data.dicom_files import (
    Identity,
    SeriesOptions,
    identity,
    series_uid_of,
    sop_uid_of,
    write_series,
)
from sample_data.label_files import write_rtstruct

SHAPE = (20, 22, 14)
AFFINE = np.array([[2.0, 0, 0, -19.0], [0, 2.1, 0, -22.0], [0, 0, 3.0, 40.0], [0, 0, 0, 1.0]])

CONFIG = """task: segmentation
data:
  root: {root}
  images:
    ct: {{modality: CT}}
  labels:
    source: rtstruct
    classes: {{ball: "Ball*"}}
split: {{test: 0.25, validation: 0.3}}
network: {{name: unet}}
plan:
  network: {{channels: [4, 8]}}
  training: {{patch_size: [16, 16, 8], batch_size: 2, steps: 30, precision: float32}}
  prediction: {{mirror_axes: []}}
"""


def ball(number: int) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
    """Return stored values (HU + 1024) and the mask of one patient."""
    generator = np.random.default_rng([7, number])
    index = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), axis=-1)
    centre = np.array([10.0, 11.0, 7.0]) + generator.uniform(-2, 2, 3)
    inside = np.linalg.norm((index - centre) * [2.0, 2.1, 3.0], axis=-1) < generator.uniform(8, 11)
    values = 1024 + generator.normal(0, 15, SHAPE) + np.where(inside, 120, -60)
    return values.astype(np.int16), np.asarray(inside)


def write_patient(
    root: Path, number: int, who: Identity | None = None, *, roi: str = "Ball", label: bool = True
) -> Identity:
    """Write one patient's CT, and its RTSTRUCT."""
    who = who or identity(f"patient {number}")
    stored, mask = ball(number)
    options = SeriesOptions(rescale_intercept=-1024.0, per_slice=_numbered)
    folder = root / (who.patient_id or f"nobody-{number}")
    write_series(folder / "ct", stored, AFFINE, who, options)
    if label:
        uid = series_uid_of(who, options)
        instances = [sop_uid_of(uid, k) for k in range(SHAPE[2])]
        write_rtstruct(folder / "rs.dcm", {roi: mask}, AFFINE, who, uid, instances)
    return who


def write_export(root: Path, patients: int = 8) -> list[Identity]:
    """Write an export of several patients."""
    return [write_patient(root, number) for number in range(patients)]


def write_config(folder: Path, root: Path, **changes: str) -> Config:
    """Write and load the config of an export; changes are lines to replace."""
    text = CONFIG.format(root=root)
    for old, new in changes.items():
        text = text.replace(old, new)
    path = folder / "task.yaml"
    path.write_text(text, encoding="utf-8")
    return load_config(path)


def _numbered(k: int, dataset: Dataset) -> None:
    dataset.InstanceNumber = k + 1
