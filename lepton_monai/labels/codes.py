"""What a class is, in codes that every viewer and PACS knows: PS3.3 section 8, PS3.16."""

from collections.abc import Mapping
from typing import NamedTuple


class Code(NamedTuple):
    """A coded concept, as in ``4147007``, ``SCT`` and ``Mass``; pydicom's own takes 0.1 s to import."""

    value: str
    scheme: str
    meaning: str


class ClassCodes(NamedTuple):
    """What a class is: SegmentedPropertyCategory and SegmentedPropertyType, PS3.16 CID 7150 and below."""

    category: Code
    kind: Code


def coded(codes: Mapping[str, ClassCodes]) -> dict[str, list[list[str]]]:
    """Return the codes of all classes for JSON: category and type, each value, scheme and meaning."""
    return {name: [list(one.category), list(one.kind)] for name, one in sorted(codes.items())}


UNTOLD = ClassCodes(Code("85756007", "SCT", "Tissue"), Code("85756007", "SCT", "Tissue"))
"""Of a class of which nobody has said what it is: as 3D Slicer has it."""
