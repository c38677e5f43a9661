"""What may tell two slices of a series apart."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from lepton_monai.core.findings import Finding
from lepton_monai.core.wording import counted
from lepton_monai.dicom import geometry
from lepton_monai.dicom.header import Header

SPLIT_KEYS: dict[str, Callable[[Header], Hashable]] = {
    "multiple_echoes": lambda header: header.acquisition.echo,
    "multiple_b_values": lambda header: (*header.acquisition.b_value, header.acquisition.gradient),
    "multiple_time_points": lambda header: header.acquisition.temporal_position,
    "multiple_phases": lambda header: header.acquisition.trigger_time_ms,
    "multiple_image_types": lambda header: header.acquisition.image_type,
    "multiple_energies": lambda header: header.acquisition.energy_kv,
    "multiple_acquisitions": lambda header: header.acquisition.acquisition_number,
    "multiple_stacks": lambda header: header.acquisition.stack_id,
}
"""What may tell two slices at one position apart, in the order in which it is tried."""

GRIDS_OF_THEIR_OWN = frozenset({"multiple_image_types", "multiple_acquisitions", "multiple_stacks"})
"""Keys that part slices which share no position; by the others, a stack could be cut at a hole."""


def tells(code: str, headers: Sequence[Header]) -> bool:
    """Say whether slices differ in a key."""
    return len({SPLIT_KEYS[code](header) for header in headers}) > 1


def split_notes(parts: Sequence[Sequence[Header]], codes: Sequence[str]) -> list[Finding]:
    """Note by which keys a series was parted."""
    message = f"The series holds {len(parts)} volumes of {counted(len(parts[0]), 'slice')}."
    if codes != ("multiple_acquisitions",) or _at_same_positions(parts):
        return [Finding(code, message) for code in codes]
    return [Finding("overlapping_acquisitions", f"{message} They overlap on other grids.")]


def _at_same_positions(parts: Sequence[Sequence[Header]]) -> bool:
    first = parts[0]
    return all(
        len(part) == len(first) and all(map(geometry.same_position, first, part)) for part in parts[1:]
    )


def parts_by(ordered: list[Header], codes: Sequence[str]) -> list[list[Header]]:
    """Part slices by some keys, in the order of these."""
    groups: dict[tuple[Hashable, ...], list[Header]] = defaultdict(list)
    for header in ordered:
        groups[tuple(SPLIT_KEYS[code](header) for code in codes)].append(header)
    return [groups[key] for key in sorted(groups, key=_rank)]


def _rank(key: Hashable) -> tuple[Any, ...]:
    """Order keys by their numbers; what is absent comes first."""
    if isinstance(key, tuple):
        return (2, *(_rank(part) for part in key))
    if isinstance(key, int | float):
        return (1, float(key))
    return (0, "" if key is None else str(key))
