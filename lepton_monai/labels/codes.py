"""What a class is, in codes that every viewer and PACS knows: PS3.3 section 8, PS3.16."""

from dataclasses import dataclass

from pydicom.sr.coding import Code


@dataclass(frozen=True)
class ClassCodes:
    """What a class is.

    Parameters
    ----------
    category, kind
        SegmentedPropertyCategory and SegmentedPropertyType: PS3.16 CID 7150 and what it leads to.
    """

    category: Code
    kind: Code


UNTOLD = ClassCodes(Code("85756007", "SCT", "Tissue"), Code("85756007", "SCT", "Tissue"))
"""Of a class of which nobody has said what it is: as 3D Slicer has it."""
