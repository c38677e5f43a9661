"""A tiny task with clinical values: a ball in a CT, an age and a sex."""

import csv
from pathlib import Path

import numpy as np

from lepton_monai.config.classification import ClassificationConfig
from sample_data.dicom_files import identity
from tests.phantoms import tiny_ct
from tests.verbs.class_exports import PLAN, write_task

PATIENTS = 16

TEXT = (
    """task: classification
data:
  root: {root}
  level: series
  images: {{ct: {{modality: CT}}}}
  labels: {{source: table, table: {root}/tables/labels.csv}}
  clinical: {{table: {root}/tables/clinical.csv, numbers: [age], categories: [sex]}}
split: {{test: 0.25, validation: 0.3}}
"""
    + PLAN.replace("{", "{{").replace("}", "}}")
    + "  input: {{size: [16, 16, 16]}}\n"
)

Rows = dict[str, tuple[str, str]]
"""Age and sex as the table has them, by patient id."""


def write_patients(root: Path) -> Rows:
    """Write a CT of every patient and both tables; of the last patient the table knows nothing."""
    shape = (14, 12, 10)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    rows: Rows = {}
    labels = []
    for number in range(PATIENTS):
        who = identity(f"patient {number}")
        generator = np.random.default_rng(number)
        bright, old = number % 2, number // 2 % 2
        ball = np.linalg.norm(index - generator.uniform(4, 7, 3), axis=-1) < 3
        stored = 500 + (200 + 300 * bright) * ball + generator.normal(0, 10, shape)
        tiny_ct(root / "images" / who.patient_id, stored=stored.astype(np.uint16), who=who)
        rows[who.patient_id] = (f"{40 + 30 * old + number / 10:.1f}", "fm"[number % 3 % 2])
        # A few are wrong, so that no probability is so sure that nothing can move it.
        labels.append((who.patient_id, "high" if bright != (number % 5 == 0) else "low"))
    rows.popitem()
    (root / "tables").mkdir()
    with (root / "tables" / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("patient_id", "label"), *labels])
    write_rows(root / "tables" / "clinical.csv", rows)
    return rows


def write_rows(path: Path, rows: Rows) -> None:
    """Write the table of clinical values."""
    with path.open("w", newline="", encoding="utf-8") as file:
        lines = [(name, *cells) for name, cells in rows.items()]
        csv.writer(file).writerows([("patient_id", "age", "sex"), *lines])


def clinical_task(folder: Path, root: Path, *more: str) -> ClassificationConfig:
    """Write and load the config."""
    return write_task(folder, root, TEXT, *more)
