"""Whether an image is like those that a model was trained on: what it finds elsewhere nobody has judged."""

import math
from collections.abc import Sequence

import numpy as np

from lepton_monai.core.findings import Finding
from lepton_monai.core.volume import Volume
from lepton_monai.data.fingerprint import measure_grid, measure_spread
from lepton_monai.plans.plan import EnvelopePlan, IntensityPlan, Plan, checked

SPACING_FACTOR = 1.5
"""Voxels may be so much smaller or larger than any of the training."""

EXTENT_FACTOR = 2.0
"""So may the image be: twice as long it holds other organs."""

VALUE_SHARE = 0.25
"""Of the whole range of the training's values, beyond either of its ends; of SUV in its logarithm."""


def outside_of(plans: Sequence[Plan], volumes: Sequence[Volume]) -> list[Finding]:
    """Return what of a case is unlike everything in the training: `outside_training`.

    Parameters
    ----------
    plans
        Of the networks of a model, which were trained on one fold each: what any of them has seen counts.
        Where one was made before plans had an envelope nothing is found.
    volumes
        The images of the case, in the order of the plan. The values of an image that is scaled by its own
        mean and deviation say nothing.
    """
    plan, envelopes = plans[0], [one.envelope for one in plans if one.envelope is not None]
    if len(envelopes) < len(plans):
        return []
    envelope = _united(envelopes)
    spacing, extent = measure_grid(volumes[0].grid)
    said = _beyond("spacing", spacing.tolist(), envelope.spacing_mm, SPACING_FACTOR)
    said += _beyond("extent", extent.tolist(), envelope.extent_mm, EXTENT_FACTOR)
    scales = (plan.preparation.intensity, *plan.preparation.further)
    rows = zip(volumes, plan.images, scales, envelope.dark, envelope.bright, strict=True)
    for volume, image, scale, dark, bright in rows:
        if scale.scheme == "zscore":
            continue
        room = VALUE_SHARE * (_scaled(bright[1], scale) - _scaled(dark[0], scale))
        for share, value, (low, high) in zip((1, 99), measure_spread(volume), (dark, bright), strict=True):
            if not _scaled(low, scale) - room <= _scaled(value, scale) <= _scaled(high, scale) + room:
                said.append(
                    f"The percentile {share} of its values in `{image.name}` is {value:.4g} {volume.unit}, "
                    f"in the training {low:.4g} to {high:.4g}."
                )
    return [Finding("outside_training", one) for one in said]


def _united(envelopes: Sequence[EnvelopePlan]) -> EnvelopePlan:
    """Return the envelope of all that several networks have seen."""

    def ends(pairs: Sequence[tuple[Sequence[float], Sequence[float]]]) -> list[list[float]]:
        return [
            np.min([low for low, _ in pairs], axis=0).tolist(),
            np.max([high for _, high in pairs], axis=0).tolist(),
        ]

    def by_image(rows: Sequence[Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
        return [(min(low for low, _ in of), max(high for _, high in of)) for of in zip(*rows, strict=True)]

    content = {
        "spacing_mm": ends([one.spacing_mm for one in envelopes]),
        "extent_mm": ends([one.extent_mm for one in envelopes]),
        "dark": by_image([one.dark for one in envelopes]),
        "bright": by_image([one.bright for one in envelopes]),
    }
    return checked(EnvelopePlan, content, "The envelope of a model")


def _scaled(value: float, scale: IntensityPlan) -> float:
    return math.log1p(max(value, 0.0)) if scale.scheme == "log" else value


def _beyond(
    what: str,
    found: Sequence[float],
    ends: tuple[Sequence[float], Sequence[float]],
    factor: float,
) -> list[str]:
    return [
        f"Its {what} along {axis} is {value:.4g} mm, in the training {low:.4g} to {high:.4g}."
        for axis, value, low, high in zip("xyz", found, *ends, strict=True)
        if not low / factor <= value <= high * factor
    ]
