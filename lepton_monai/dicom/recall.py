"""What the headers of one series share: stretches of bytes that are not walked again.

The slices of a series repeat most of their header byte for byte. The same bytes walk the same way wherever
an element may start, so a stretch of whole elements that an earlier file had is one comparison, and its
kept values are those of the earlier file.
"""

from collections.abc import Iterable, Mapping
from itertools import groupby

from lepton_monai.dicom.container import FIRST_READ, SHORT_READ

PATIENCE = 8
"""So many files must differ before the stretches are made anew: that costs two walks more."""

Stretch = tuple[bytes, Mapping[int, bytes]]
"""The bytes of some elements that follow each other, and what is kept of them."""


class Recall:
    """The stretches that two explicit little-endian headers had in common, for as long as they serve.

    Attributes
    ----------
    stretches
        By the tag of their first element.
    first_read
        Bytes that would have held the last header.
    """

    def __init__(self) -> None:
        self.stretches: dict[int, Stretch] = {}
        self.first_read = FIRST_READ
        self._reference: dict[int, bytes] = {}
        self._patience = 0

    def is_due(self, met: int, pixels: int) -> bool:
        """Tell whether a header that has met so many of the stretches is to be learnt from.

        Parameters
        ----------
        met
            Number of stretches that it had.
        pixels
            Where it ends; 0: unknown.
        """
        self.first_read = SHORT_READ if 0 < pixels <= SHORT_READ else FIRST_READ
        if met == len(self.stretches) and met:
            return False
        self._patience -= 1
        return self._patience < 0

    def learn(self, parts: Iterable[tuple[int, bytes]], kept: Mapping[int, bytes]) -> None:
        """Make the stretches of what a header has in common with the one that was learnt from before.

        Parameters
        ----------
        parts
            Tag and bytes of every element in order; no bytes: it has to be walked every time.
        kept
            The values kept of them.
        """
        header = list(parts)
        self.stretches = {}
        for is_shared, group in groupby(header, lambda one: bool(one[1]) and one == self._same(one[0])):
            elements = list(group)
            if is_shared and len(elements) > 1:
                values = {tag: kept[tag] for tag, _ in elements if tag in kept}
                self.stretches[elements[0][0]] = b"".join(part for _, part in elements), values
        self._patience = PATIENCE if self._reference else 0
        self._reference = dict(header)

    def _same(self, tag: int) -> tuple[int, bytes | None]:
        return tag, self._reference.get(tag)
