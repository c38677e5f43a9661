"""A classifier of an image and clinical values together, and of each alone."""

from collections.abc import Sequence

import torch

from lepton_monai.networks.classifiers import build_classifier
from lepton_monai.plans.classification import ClassificationPlan

HIDDEN = 32
"""Features of the values, and of both together."""


HEADS = ("of_both", "of_image", "of_values")
"""Names of the layers that give the logits of a fused classifier: the first decides."""


class FusedClassifier(torch.nn.Module):
    """Three heads on two parts: image and values together decide, and each alone is there to compare.

    The heads of the parts are trained too, so that neither part is left behind by the other one.

    Parameters
    ----------
    image
        Any classifier, built with `features` outputs.
    features
        Of the image.
    values
        How many clinical values there are.
    outputs
        Of each head.
    """

    def __init__(self, image: torch.nn.Module, features: int, values: int, outputs: int) -> None:
        super().__init__()
        self.image = image
        self.values = torch.nn.Sequential(
            torch.nn.Linear(values, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, HIDDEN)
        )
        self.of_both = torch.nn.Sequential(
            torch.nn.Linear(features + HIDDEN, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, outputs)
        )
        self.of_image = torch.nn.Linear(features, outputs)
        self.of_values = torch.nn.Linear(HIDDEN, outputs)

    def forward(self, inputs: Sequence[torch.Tensor]) -> torch.Tensor | tuple[torch.Tensor, ...]:
        """Return the logits ``(n, outputs)`` of both together; in training those of `heads`."""
        found = self.heads(inputs)
        return found if self.training else found[0]

    def heads(self, inputs: Sequence[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        """Return the logits of both together, of the image alone, and of the values alone.

        Parameters
        ----------
        inputs
            Images ``(n, channel, x, y[, z])``, and values ``(n, values)``.
        """
        image, values = inputs
        seen = torch.relu(self.image(image))
        known = torch.relu(self.values(values))
        both = self.of_both(torch.cat([seen, known], dim=1))
        return both, self.of_image(seen), self.of_values(known)


class OfImage(torch.nn.Module):
    """A fused classifier as a function of the image, at the same values for all of them.

    Parameters
    ----------
    network
        To ask.
    values
        ``(values,)``.
    """

    def __init__(self, network: FusedClassifier, values: torch.Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("at", values)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return the logits ``(n, outputs)`` of both together."""
        at: torch.Tensor = self.get_buffer("at")
        return self.network.heads((image, at.expand(len(image), -1)))[0]


def build_planned(plan: ClassificationPlan) -> torch.nn.Module:
    """Build the classifier of a plan with random weights: of images, or of images with clinical values.

    Raises
    ------
    ConfigError
        There is no such network, or it can't be built so.
    """
    outputs = len(plan.classes)
    if plan.clinical is None:
        return build_classifier(plan.network, plan.input, outputs)
    image = build_classifier(plan.network, plan.input, plan.clinical.features)
    return FusedClassifier(image, plan.clinical.features, plan.clinical.width, outputs)
