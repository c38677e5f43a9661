"""Hostile files: one of every kind and syntax, changed in all the ways that files break."""

import resource
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.dicom import Series, read_series, scan
from tests.dicom.by_pydicom import slices_of_file
from tests.dicom.catalogue import CATALOGUE

Write = Callable[[Path], list[Path]]

VRS = [b"SQ", b"UN", b"OB", b"OW", b"DS", b"IS", b"US", b"FD", b"PN", b"UI", b"??", b"\0\0"]
LENGTHS = [0, 1, 3, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]

_NAMES = [
    *(f"{syntax}, 16 bits, signed" for syntax in ("implicit", "explicit", "big endian", "deflated", "RLE")),
    *("JPEG baseline", "JPEG extended, 12 bits", "JPEG lossless, 12 bits", "JPEG-LS, 16 bits, signed"),
    *(
        "JPEG-LS, near",
        "JPEG 2000, 16 bits, signed",
        "HTJ2K, lossless",
        "explicit, 8 bits",
        "explicit, 12 bits",
    ),
    *("thirty-two bits", "a padding value", "a Modality LUT", "plain MR, oblique", "plain PT, oblique"),
    *(
        "Bq/ml, decay to the start",
        "enhanced CT, oblique",
        "enhanced MR, oblique",
        "RLE frames in fragments",
    ),
    "mosaic of 5, oblique",
]


def _first_file(name: str) -> Write:
    """Write a series of the catalogue and keep its first file: a slice is a series of its own."""

    def write(folder: Path) -> list[Path]:
        CATALOGUE[name].write(folder)
        first, *others = sorted(folder.iterdir())
        for path in others:
            path.unlink()
        return [first]

    return write


SEEDS: dict[str, Write] = {name: _first_file(name) for name in _NAMES}
"""Each writes one file."""


def mutations(content: bytes, generator: np.random.Generator, count: int) -> Iterator[bytes]:
    """Yield changed copies: flipped bits, cuts, lengths that lie, other VRs, by turns."""
    elements = _elements(content)
    for number in range(count):
        changed = bytearray(content)
        # Half of the lies are told where a length or a VR really stands.
        at = int(generator.integers(132, len(content) - 8))
        if elements and number % 8 < 4:
            at = elements[int(generator.integers(len(elements)))]
        kind = number % 4
        if kind == 0:
            for place in generator.integers(0, len(content), size=int(generator.integers(1, 6))):
                changed[int(place)] ^= 1 << int(generator.integers(8))
        elif kind == 1:
            del changed[int(generator.integers(len(content))) :]
        elif kind == 2:
            length = LENGTHS[int(generator.integers(len(LENGTHS)))]
            size = 2 if generator.random() < 0.5 else 4
            changed[at + 6 : at + 6 + size] = (length % (1 << 8 * size)).to_bytes(size, "little")
        else:
            changed[at + 4 : at + 6] = VRS[int(generator.integers(len(VRS)))]
        yield bytes(changed)


def _elements(content: bytes) -> list[int]:
    """Return where the elements of an explicit data set seem to start: two capitals behind a tag."""
    capitals = np.isin(np.frombuffer(content, np.uint8), np.arange(65, 91))
    starts = np.flatnonzero(capitals[:-1] & capitals[1:]) - 4
    groups = np.frombuffer(content, np.uint8)
    return [int(at) for at in starts if at >= 132 and groups[at + 1] in {0, 0x7F, 0x52}]


@dataclass
class Attack:
    """What came of many hostile files.

    Parameters
    ----------
    outcomes
        How many ended how; whatever isn't in `EXPECTED` is a defect, with the number of its file.
    longest_s
        That one file took.
    more_bytes
        By which the memory of the process grew.
    """

    outcomes: Counter[str]
    longest_s: float
    more_bytes: int


EXPECTED = frozenset({"right", "right as far as pydicom can tell", "refused"})


def attack(folder: Path, count: int, seed: int) -> Attack:
    """Read so many mutated files one by one, in this process."""
    generator = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    longest_s, at_first = 0.0, 0
    for name, write in SEEDS.items():
        (path,) = write(folder / name)
        content = path.read_bytes()
        for number, changed in enumerate(mutations(content, generator, count // len(SEEDS))):
            path.write_bytes(changed)
            start = perf_counter()
            outcome = _outcome(path)
            longest_s = max(longest_s, perf_counter() - start)
            outcomes[outcome if outcome in EXPECTED else f"{name}, {number}: {outcome}"] += 1
            at_first = at_first or peak_bytes()  # by now all is imported
    return Attack(outcomes, longest_s, peak_bytes() - at_first)


def peak_bytes() -> int:
    """Return the most memory that this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _outcome(path: Path) -> str:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            index = scan([path])
            found = [_judged(series, path) for series in index.series]
        except Exception as error:  # noqa: BLE001 - just that must not be
            return f"{type(error).__name__}: {error}"
    if said:
        return f"warned: {said[0].message}"
    wrong = [one for one in found if one not in EXPECTED]
    return wrong[0] if wrong else min(found, default="refused")


def _judged(series: Series, path: Path) -> str:
    """Hold every slice of a series against what pydicom makes of the file."""
    try:
        volume = read_series(series)
    except SeriesRefused:
        return "refused"
    truth = slices_of_file(path)
    if not truth or series.headers[0].tile is not None:
        return "right as far as pydicom can tell"
    for k, header in enumerate(series.headers):
        affine = volume.grid.affine.copy()
        affine[:3, 3] += k * affine[:3, 2]
        error = truth[header.frame].error(volume.array[:, :, k : k + 1] / series.factor, affine)
        if error:
            return f"wrong: {error}"
    is_judged = all(np.isfinite(one.values).any() for one in truth)
    return "right" if is_judged else "right as far as pydicom can tell"
