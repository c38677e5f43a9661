"""Tiny tasks of classification: discs and bars as pictures, balls and slabs as DICOM."""

from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

from lepton_monai.config.classification import ClassificationConfig
from lepton_monai.config.load import load_classification
from tests.phantoms import tiny_ct, tiny_mr

SIDE = 32

PLAN = """network: {name: resnet10, arguments: {widen_factor: 0.125}}
plan:
  training: {steps: 30, batch_size: 8, precision: float32, channels_last: false, threads: 1}
"""

PICTURES = (
    """task: classification
data:
  root: {root}
  level: image
  labels: {{source: folder}}
split: {{test: 0.25, validation: 0.25}}
"""
    + PLAN.replace("{", "{{").replace("}", "}}")
    + "  input: {{size: [32, 32, 1]}}\n"
)

LABELS = PICTURES.replace(
    "{{source: folder}}",
    "{{source: table, table: '{root}/labels.csv', by: file, columns: [disc, bar]}}",
)

SERIES = (
    """task: classification
data:
  root: {root}
  level: series
  images: {{any: {{}}}}
  labels: {{source: tag, keyword: Modality}}
split: {{test: 0.25, validation: 0.25}}
"""
    + PLAN.replace("{", "{{").replace("}", "}}")
    + "  input: {{size: [16, 16, 16]}}\n"
)

STUDIES = (
    """task: classification
data:
  root: {root}
  level: study
  images: {{ct: {{modality: CT}}}}
  labels: {{source: folder}}
split: {{test: 0.25, validation: 0.25}}
"""
    + PLAN.replace("{", "{{").replace("}", "}}")
    + "  input: {{size: [16, 16, 16]}}\n"
)

NIFTI_SLICES = """task: classification
data:
  root: {root}
  level: slice
  images: {{ct: {{folder: images}}}}
  labels: {{source: segment, annotation: nifti, folder: masks, classes: {{ball: 1}}}}
split: {{test: 0.25, validation: 0.3}}
""" + (PLAN.replace("{", "{{").replace("}", "}}") + "  input: {{size: [32, 32, 1]}}\n")

SLICES = """task: classification
data:
  root: {root}
  level: slice
  images: {{ct: {{modality: CT}}}}
  labels: {{source: segment, annotation: rtstruct, classes: {{ball: "Ball*"}}}}
split: {{test: 0.25, validation: 0.3}}
""" + (PLAN.replace("{", "{{").replace("}", "}}") + "  input: {{size: [32, 32, 1]}}\n")


def write_pictures(root: Path, count: int = 16) -> None:
    """Write discs and bars, `count` of each, at other places and in other greys."""
    j, i = np.mgrid[:SIDE, :SIDE]
    for name in ("bar", "disc"):
        (root / name).mkdir(parents=True)
        for number in range(count):
            generator = np.random.default_rng([number, name == "bar"])
            x, y = generator.uniform(10, 22, 2)
            inside = np.hypot(i - x, j - y) < 7 if name == "disc" else np.abs(j - y) < 3
            values = generator.uniform(20, 60) + generator.uniform(100, 150) * inside
            noisy = np.clip(values + generator.normal(0, 8, values.shape), 0, 255)
            Image.fromarray(noisy.astype(np.uint8)).save(root / name / f"{number:03d}.png")


def write_labelled(root: Path, count: int = 40) -> None:
    """Write pictures with a disc, a bar, both or neither, and a table that doesn't know every label."""
    j, i = np.mgrid[:SIDE, :SIDE]
    rows = ["file,bar,disc"]
    root.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        generator = np.random.default_rng(number)
        bar, disc = number % 2, number // 2 % 2
        inside = np.zeros((SIDE, SIDE), dtype=bool)
        if bar:
            inside |= np.abs(j - generator.uniform(4, 10)) < 2
        if disc:
            inside |= np.hypot(i - generator.uniform(8, 24), j - generator.uniform(20, 24)) < 6
        values = generator.uniform(20, 60) + 130 * inside + generator.normal(0, 8, inside.shape)
        Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(root / f"{number:03d}.png")
        rows.append(f"{number:03d}.png,{'' if number % 8 == 3 else ('no', 'yes')[bar]},{disc}")
    (root / "labels.csv").write_text("\n".join(rows), encoding="utf-8")


def write_modalities(root: Path, patients: int = 8) -> None:
    """Write a CT with a bright ball and an MR with a bright slab of every patient."""
    from sample_data.dicom_files import identity

    shape = (14, 12, 10)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    for number in range(patients):
        who = identity(f"patient {number}")
        generator = np.random.default_rng(number)
        ball = np.linalg.norm(index - generator.uniform(4, 7, 3), axis=-1) < 3
        slab = np.abs(index[..., 0] - generator.uniform(4, 9)) < 2
        noise = generator.normal(0, 10, shape)
        for write, inside, kind in ((tiny_ct, ball, "ct"), (tiny_mr, slab, "mr")):
            stored = (500 + 400 * inside + noise).astype(np.uint16)
            write(root / who.patient_id / kind, stored=stored, who=who)


def write_studies(root: Path, patients: int = 8) -> None:
    """Write a study of two CT series of every patient: with a ball in the folder `ball`, else in `none`."""
    from sample_data.dicom_files import identity

    index = np.stack(np.meshgrid(*[np.arange(n) for n in (14, 12, 10)], indexing="ij"), axis=-1)
    for number in range(patients):
        who = identity(f"patient {number}")
        for name in ("thin", "thick"):
            generator = np.random.default_rng([number, name == "thin"])
            inside = np.linalg.norm(index - generator.uniform(4, 7, 3), axis=-1) < 3
            values = 500 + 400 * (inside & (number % 2 == 1)) + generator.normal(0, 10, inside.shape)
            folder = root / ("none", "ball")[number % 2] / str(number) / name
            tiny_ct(folder, stored=values.astype(np.uint16), who=who, description=name)


def write_nifti_balls(root: Path, count: int = 8) -> None:
    """Write NIfTI images with a ball, and masks of it, of which slice by slice is known what they hold."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in (16, 14, 9)], indexing="ij"), axis=-1)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(count):
        generator = np.random.default_rng(number)
        ball = np.linalg.norm(index - [*generator.uniform(6, 9, 2), 4], axis=-1) < 2.5
        values = 500 + 400 * ball + generator.normal(0, 10, ball.shape)
        for folder, array in (("images", values.astype(np.int16)), ("masks", ball.astype(np.uint8))):
            image = nibabel.Nifti1Image(array, np.diag([1.0, 1.5, 3.0, 1.0]))
            nibabel.save(image, root / folder / f"case_{number}.nii.gz")


def write_task(folder: Path, root: Path, text: str, *more: str) -> ClassificationConfig:
    """Write and load a config; `more` are changes as the command line takes them."""
    path = folder / "task.yaml"
    path.write_text(text.format(root=root), encoding="utf-8")
    return load_classification(path, more)
