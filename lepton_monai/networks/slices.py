"""A flat network on every slice of a volume, its features pooled by attention: 2.5D."""

import torch

FEATURES = 64
"""Outputs of the flat network, taken as the features of a slice."""

HIDDEN = 64


class GatedAttention(torch.nn.Module):
    """Weights of the members of a bag, by what each looks like alone.

    Notes
    -----
    Ilse, Tomczak and Welling, Attention-based Deep Multiple Instance Learning, ICML 2018, equation 9.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.content = torch.nn.Linear(features, HIDDEN)
        self.gate = torch.nn.Linear(features, HIDDEN)
        self.score = torch.nn.Linear(HIDDEN, 1, bias=False)  # a bias would move all alike

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return weights ``(n, slices)`` that sum to 1, from features ``(n, slices, features)``."""
        hidden = torch.tanh(self.content(features)) * torch.sigmoid(self.gate(features))
        scores: torch.Tensor = self.score(hidden)
        return scores.squeeze(2).softmax(dim=1)


class SliceClassifier(torch.nn.Module):
    """Decides about a volume from its slices along the last axis, in whatever order.

    Parameters
    ----------
    backbone
        Gives `FEATURES` numbers of a flat image.
    classes
        Outputs.
    """

    def __init__(self, backbone: torch.nn.Module, classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.attention = GatedAttention(FEATURES)
        self.head = torch.nn.Linear(FEATURES, classes)

    def features(self, volume: torch.Tensor) -> torch.Tensor:
        """Return features ``(n, k, FEATURES)`` of the slices of volumes ``(n, channels, i, j, k)``."""
        slices = volume.permute(0, 4, 1, 2, 3)
        features: torch.Tensor = self.backbone(slices.flatten(0, 1))
        return features.reshape(*slices.shape[:2], -1)

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Return logits ``(n, classes)``."""
        features = self.features(volume)
        pooled = (self.attention(features)[..., None] * features).sum(dim=1)
        logits: torch.Tensor = self.head(pooled)
        return logits
