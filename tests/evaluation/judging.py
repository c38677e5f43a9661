"""From probabilities and thresholds to what is judged."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lepton_monai.cases.classes import Holds
from lepton_monai.evaluation.classification import Judged

Array = NDArray[np.float64]


def judged_at(
    probabilities: Array, targets: Array, holds: Holds = "one", thresholds: Sequence[float] = (0.5,)
) -> Judged:
    """Decide by thresholds: of class 1 where there are two classes, or one a label."""
    if holds == "any":
        decided = probabilities >= np.array(thresholds)
    elif probabilities.shape[1] == 2:
        second = probabilities[:, 1] >= thresholds[0]
        decided = np.stack([~second, second], axis=1)
    else:
        decided = probabilities == probabilities.max(axis=1, keepdims=True)
    # A network's logits are finite.
    return Judged(np.clip(special.logit(probabilities), -50, 50), decided, targets, holds)
