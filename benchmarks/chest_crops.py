"""Crops of the CT series of `sts`: in the tumour, and of the same size beside it.

    in the tumour   the middle voxel is tumour
    beside it       no voxel is tumour

Both lie wholly inside the image and hold at least 80 % body, so that neither padding nor air says which is
which; of all such places some of each are drawn for each patient. What place and grey values alone tell is
measured beside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from tasks import CONFIGS, TASKS

from lepton_monai.cases.case import load_case
from lepton_monai.cases.collect import collect
from lepton_monai.config.load import load_config
from lepton_monai.core.findings import Finding
from lepton_monai.core.pseudonyms import load_pseudonyms
from lepton_monai.data.transforms import Prepared, prepare
from lepton_monai.networks.known import ExpectedIntensity
from lepton_monai.plans.plan import IntensityPlan, PreparationPlan, Spacing, Triple

TASK = replace(TASKS["sts"], image="{name}/CT/image", channel="CT")

AIR_BELOW_HU = -300.0
LEAST_BODY = 0.8

MEASURES = ("mean HU", "deviation of HU", "share of air", "mm from the middle of the image")


@dataclass(frozen=True, eq=False)
class Crops:
    """Crops of all patients, on the scale of the network.

    Parameters
    ----------
    images
        float16 ``(n, x, y, z)``, axes towards R, A and S.
    labels
        1: in the tumour, 0: beside it.
    patients
        Whose each crop is.
    measures
        ``(n, 4)``: see `MEASURES`.
    """

    images: NDArray[np.float16]
    labels: NDArray[np.int64]
    patients: NDArray[np.str_]
    measures: NDArray[np.float64]

    def of(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Return which crops are of these patients."""
        return np.isin(self.patients, names)


@dataclass(frozen=True)
class CropChoice:
    """What is cut out: voxels along x, y and z, their spacing, how many of each kind, the seed."""

    size: Triple
    spacing_mm: Spacing
    each: int
    seed: int = 0


def read_crops(
    data: Path, names: Sequence[str], choice: CropChoice, scale: ExpectedIntensity, salt: Path
) -> Crops:
    """Read the CT series and tumours of some patients and cut the crops out; `salt`: of the pseudonyms."""
    changes = [f"data.root={data / TASK.root}", "data.images={ct: {modality: CT}}"]
    wanted = load_config(CONFIGS / TASK.config, changes).data_choice()
    plan = PreparationPlan(
        choice.spacing_mm, IntensityPlan("window", scale.low, scale.high, scale.low, scale.high - scale.low)
    )
    found = []
    cases = collect(wanted, load_pseudonyms(salt)).cases
    for case in sorted(cases, key=lambda one: one.patient_id):
        if case.patient_id not in names:
            continue
        loaded = load_case(case, wanted.label.labels, empty_is_negative=False)
        if isinstance(loaded, Finding):
            message = f"{case.patient_id} can't be used: {loaded.sentence()}"
            raise SystemExit(message)
        found.append(_of_patient(case.patient_id, prepare(loaded.volume, loaded.mask, plan), choice, scale))
    return Crops(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _of_patient(
    name: str, case: Prepared, choice: CropChoice, scale: ExpectedIntensity
) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.str_], NDArray[np.float64]]:
    if case.label is None:
        message = f"{name} has no tumour."
        raise SystemExit(message)
    image = case.image[0].numpy()
    hu = image * np.float32(scale.high - scale.low) + np.float32(scale.low)
    middles = _drawn_middles(name, case.label[0].numpy() > 0, hu > AIR_BELOW_HU, choice)
    half = np.array(choice.size) // 2
    images, measures = [], []
    for middle in np.concatenate(middles):
        box = tuple(slice(a, a + n) for a, n in zip(middle - half, choice.size, strict=True))
        images.append(image[box].astype(np.float16))
        from_middle = (middle - np.array(image.shape) / 2) * choice.spacing_mm
        inside = hu[box]
        air = float(np.mean(inside < AIR_BELOW_HU))
        measures.append([inside.mean(), inside.std(), air, float(np.linalg.norm(from_middle))])
    labels = np.repeat([1, 0], [len(part) for part in middles])
    return np.stack(images), labels, np.full(len(labels), name), np.array(measures, dtype=float)


def _drawn_middles(
    name: str, tumour: NDArray[np.bool_], body: NDArray[np.bool_], choice: CropChoice
) -> list[NDArray[np.int64]]:
    """Return the middle voxels of crops in the tumour, and of those beside it, ``(n, 3)`` each."""
    # Both filters look at size // 2 voxels before the middle, as the crops do.
    share = ndimage.uniform_filter(body.astype(np.float32), choice.size)
    touched = ndimage.maximum_filter(tumour, choice.size)
    inside = np.zeros(tumour.shape, dtype=np.bool_)
    half = [n // 2 for n in choice.size]
    ends = [extent - (n - h) for extent, n, h in zip(tumour.shape, choice.size, half, strict=True)]
    inside[tuple(slice(h, end + 1) for h, end in zip(half, ends, strict=True))] = True
    fits = inside & (share >= LEAST_BODY)
    generator = np.random.default_rng([choice.seed, *name.encode()])
    drawn = []
    for kind, places in (("in the tumour", fits & tumour), ("beside it", fits & ~touched)):
        found = np.argwhere(places)
        if len(found) < choice.each:
            message = f"{name} has {len(found)} places {kind} for a crop, {choice.each} are wanted."
            raise SystemExit(message)
        drawn.append(generator.choice(found, choice.each, replace=False))
    return drawn
