"""Fusion where image and clinical values each hold half of the signal."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lepton_monai.data.clinical import encoded
from lepton_monai.data.inputs import Sample
from lepton_monai.evaluation.calibration import probabilities
from lepton_monai.evaluation.classification import Judged
from lepton_monai.evaluation.parts import compared_figures, paired_figures
from lepton_monai.inference.classifier import heads_of
from lepton_monai.labels.clinical import ClinicalColumns, ClinicalRow
from lepton_monai.networks.fusion import build_planned
from lepton_monai.plans.classification import ClassificationPlan
from lepton_monai.training.classification import (
    classification_training,
    images_of,
    settle_norms,
)
from lepton_monai.training.clinical_planner import plan_clinical
from lepton_monai.training.loop import Feeding, batches
from lepton_monai.training.seeds import deterministic, seeded
from tests.evaluation.judging import judged_at
from tests.plans.class_examples import example_classification

CPU = torch.device("cpu")
TRAINING, TEST = 240, 200
SHAPE = (16, 12, 1)
EYE = np.eye(2, dtype=np.float32)


def _patients(count: int, seed: int) -> tuple[list[NDArray[np.float16]], list[ClinicalRow], list[int]]:
    """Draw patients whose class follows from the sum of a lesion's brightness, a value, and chance."""
    generator = np.random.default_rng(seed)
    index = np.stack(np.meshgrid(*[np.arange(side) for side in SHAPE], indexing="ij"), axis=-1)
    images, rows, labels = [], [], []
    for _ in range(count):
        bright, value, chance = generator.normal(0.0, (1.0, 1.0, 0.5))
        centre = generator.uniform((5, 4, 0), (10, 7, 0))
        lesion = np.linalg.norm(index - centre, axis=-1) < 3.5
        noise = generator.normal(0.0, 0.3, SHAPE)
        images.append((0.5 + bright * lesion + noise).astype(np.float16))
        rows.append(ClinicalRow({"psa": 4.0 + 3.0 * value}, {}))
        labels.append(int(bright + value + chance > 0))
    return images, rows, labels


def _samples(count: int, seed: int, plan: ClassificationPlan) -> list[Sample]:
    return [
        Sample(f"PIC-{at}", f"P-{at}", None, 0.0, EYE[label], image, values=encoded(row, plan.clinical))
        for at, (image, row, label) in enumerate(zip(*_patients(count, seed), strict=True))
    ]


def _judged(network: torch.nn.Module, samples: Sequence[Sample], plan: ClassificationPlan) -> list[Judged]:
    heads = heads_of(network, samples, plan, CPU).transpose(1, 0, 2)
    targets = np.stack([one.target for one in samples if one.target is not None]).astype(np.float64)
    return [judged_at(probabilities(one), targets) for one in heads]


@pytest.fixture(scope="module")
def plan() -> ClassificationPlan:
    _, rows, _ = _patients(TRAINING, seed=1)
    clinical, _ = plan_clinical(rows, ClinicalColumns("file", ("psa",), ()))
    drawn = example_classification(batch_size=24, steps=200, average_decay=0.95, shift=0.0)
    # How bright a lesion is decides here: nothing may change it.
    off = {name: 0.0 for name in vars(drawn.training.augmentation) if name.endswith("probability")}
    still = replace(drawn.training.augmentation, **off)  # type: ignore[arg-type] # floats
    return replace(drawn, training=replace(drawn.training, augmentation=still), clinical=clinical)


@pytest.fixture(scope="module")
def network(plan: ClassificationPlan) -> torch.nn.Module:
    source, feeding = images_of(_samples(TRAINING, 1, plan), plan), Feeding(CPU)
    with deterministic(1), seeded(0):
        training = classification_training(plan, CPU, build_planned(plan))
        for inputs, label in batches(source, feeding):
            training.advance(inputs, label)
        settle_norms(training, source, feeding)
    return training.average.eval()


def test_both_together_beat_image_and_values_alone_on_patients_never_seen(
    network: torch.nn.Module, plan: ClassificationPlan
) -> None:
    samples = _samples(TEST, 2, plan)
    keys = [one.patient for one in samples]
    both, *alone = _judged(network, samples, plan)
    together = compared_figures(both, keys)["auroc"]
    print(f"both: AUROC {together.text(3)}")
    for name, part in zip(("image", "values"), alone, strict=True):
        figure = compared_figures(part, keys)["auroc"]
        gain = paired_figures(both, part, keys)["auroc"]
        print(f"{name} alone: AUROC {figure.text(3)}; both less it {gain.text(3)}")
        assert 0.7 < figure.mean < 0.9
        assert gain.low > 0.0
    assert together.mean > 0.9


def test_a_patient_of_whom_nothing_is_known_is_predicted_from_the_image(
    network: torch.nn.Module, plan: ClassificationPlan
) -> None:
    samples = [replace(one, values=encoded(None, plan.clinical)) for one in _samples(TEST, 2, plan)]
    keys = [one.patient for one in samples]
    both, image, _ = (compared_figures(one, keys)["auroc"].mean for one in _judged(network, samples, plan))
    print(f"values missing: AUROC of both {both:.3f}, of the image alone {image:.3f}")
    assert both > image - 0.05
