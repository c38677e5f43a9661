"""Volumes whose class depends on one lesion among distractors, and a small network that learned it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from lepton_monai.cases.case import Case
from lepton_monai.cases.classes import Level
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.data.class_sampler import network_input
from lepton_monai.data.inputs import SourceImage, samples_of, source_of
from lepton_monai.inference.classifier import Classifier, ClassMember
from lepton_monai.inference.decision import Decision
from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.plans.classification import ClassificationPlan, InputPlan, ScalePlan, SourcePlan
from lepton_monai.training.seeds import deterministic, seeded
from tests.phantoms import oblique_affine, orientations
from tests.plans.class_examples import example_classification

CASE = Case("CT-1", "P-1", "id", "id", Path("nowhere"), None)
NO_SLICES = np.empty(0, dtype=np.bool_)
SPACING_MM = (1.0, 1.25, 2.0)
EXTENT_MM = 40.0
RADIUS_MM = 5.5
BAR_MM = (2.0, 14.0)
"""Half of its width and of its length."""


@dataclass(frozen=True, eq=False)
class Phantom:
    """A volume, where its lesion lies (nowhere in a negative one), and its class."""

    volume: Volume
    lesion: NDArray[np.bool_]
    label: int

    def source(self, plan: ClassificationPlan) -> SourceImage:
        """As the network's input is made of it."""
        return source_of(self.volume, plan.source.level, NO_SLICES)


def phantom(number: int, label: int, axes: int = 3) -> Phantom:
    """Return noise with two dark balls and two bright bars, and with a bright ball where `label` is 1.

    Every case has axes of its own: turned, swapped and mirrored, with another spacing on each. With two
    `axes` it is one slice, and all is flat.
    """
    generator = np.random.default_rng(number)
    affine = oblique_affine((1.0, 1.0, 1.0), (6.0, -8.0, 5.0))
    affine[:3, :3] = affine[:3, :3] @ orientations()[int(generator.integers(48))] * SPACING_MM
    shape = tuple(int(EXTENT_MM / spacing) for spacing in SPACING_MM[:axes])
    points = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) * SPACING_MM[:axes]
    places = list(_apart(generator, 5, axes))
    values = ndimage.gaussian_filter(generator.normal(0.0, 60.0, shape), 0.7)
    bright = np.zeros(shape, dtype=np.bool_)
    for place in places[:2]:
        values -= 150.0 * (np.linalg.norm(points - place, axis=-1) < RADIUS_MM)
    for place in places[2:4]:
        half = np.full(axes, BAR_MM[0])
        half[int(generator.integers(axes))] = BAR_MM[1]
        bright |= (np.abs(points - place) < half).all(axis=-1)
    lesion = np.linalg.norm(points - places[4], axis=-1) < RADIUS_MM
    values += 150.0 * (bright | (lesion & bool(label)))
    array = np.asfortranarray(values, dtype=np.float32).reshape((*shape, 1)[:3], order="F")
    i, j, k = array.shape
    inside = lesion.reshape(array.shape, order="F") & bool(label)
    return Phantom(Volume(array, Grid((i, j, k), affine), "HU"), inside, label)


def _apart(generator: np.random.Generator, count: int, axes: int) -> Iterator[NDArray[np.float64]]:
    """Yield places that keep a ball whole and away from the others."""
    found: list[NDArray[np.float64]] = []
    while len(found) < count:
        place = generator.uniform(RADIUS_MM, EXTENT_MM - RADIUS_MM - 2, axes)
        if all(np.linalg.norm(place - other) > 2 * RADIUS_MM for other in found):
            found.append(place)
            yield place


def lesion_plan(level: Level) -> ClassificationPlan:
    """Return a plan for series in HU or for their slices, made to fit."""
    size = (32, 32, 32 if level == "series" else 1)
    scale = ScalePlan("none", -200.0, 200.0, (0.5,), (0.25,))
    return replace(
        example_classification(),
        classes=("healthy", "lesion"),
        source=SourcePlan("ct", "dicom", level, "CT", None, ("HU",)),
        input=InputPlan(size, None, 1, scale),
    )


def learned(plan: ClassificationPlan, count: int, steps: int) -> Classifier:
    """Train a network on phantoms that the tests don't look at, for seconds."""
    phantoms = [phantom(1000 + number, number % 2, plan.input.axes) for number in range(count)]
    level = plan.source.level
    samples = [samples_of(CASE, one.source(plan), plan.input, level, None)[0] for one in phantoms]
    arrays = [torch.from_numpy(one.array.astype(np.float32)[None]) for one in samples]
    images = torch.stack([network_input(one, is_flat=plan.input.is_flat) for one in arrays])
    labels = torch.tensor([one.label for one in phantoms])
    # One thread: with another number of them the sums, and so the network, are others.
    with deterministic(1), seeded(0):
        network = build_classifier(plan.network, plan.input, 2)
        optimizer = torch.optim.AdamW(network.parameters(), 3e-3)
        generator = torch.Generator().manual_seed(0)
        for _ in range(steps):
            drawn = torch.randint(count, (16,), generator=generator)
            loss = torch.nn.functional.cross_entropy(network(images[drawn]), labels[drawn])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    member = ClassMember(network.eval(), plan, ((Decision(),),))
    return Classifier((member,), torch.device("cpu"), "digest")
