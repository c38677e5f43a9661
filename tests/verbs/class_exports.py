"""Tiny tasks of classification: discs and bars as pictures, balls and slabs as DICOM."""

from pathlib import Path

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


def write_task(folder: Path, root: Path, text: str, *more: str) -> ClassificationConfig:
    """Write and load a config; `more` are changes as the command line takes them."""
    path = folder / "task.yaml"
    path.write_text(text.format(root=root), encoding="utf-8")
    return load_classification(path, more)
