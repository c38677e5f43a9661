"""From cases to what a training is fed with: measured, then kept on the network's grid."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from lepton_monai.cases.case import Case, load_case
from lepton_monai.cases.collect import DataChoice
from lepton_monai.core.errors import InputError, MachineError
from lepton_monai.core.files import cache_folder
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import Progress
from lepton_monai.data.cache import CachedCase, add_entry, entry_key, find_entry, limit_cache
from lepton_monai.data.fingerprint import Fingerprint, Measurement, fingerprint, measure
from lepton_monai.data.transforms import Prepared, prepare
from lepton_monai.dicom.dataset import foreign_file
from lepton_monai.plans.plan import PreparationPlan

USUAL_LIMIT_GB = 100.0

MOST_AT_ONCE = 4
"""Cases that are open at once: the voxels of each are held."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Cache:
    """Where prepared cases are kept, and how much of them."""

    folder: Path
    limit_gb: float = USUAL_LIMIT_GB

    @classmethod
    def of_user(cls, limit_gb: float = USUAL_LIMIT_GB) -> "Cache":
        """Return the one in the user's cache folder.

        Raises
        ------
        MachineError
            This user has none.
        """
        folder = cache_folder()
        if folder is None:
            message = "This user has no home folder for prepared cases. Name a place with --cache FOLDER."
            raise MachineError(message)
        return cls(folder / "prepared", limit_gb)


@dataclass(frozen=True, eq=False)
class Measured:
    """A case that can be used, without its voxels.

    Parameters
    ----------
    case, measurement
        Which, and what it looks like.
    digest
        Of the image's values alone: equal for an image that was exported twice.
    voxels
        Digests of everything that is read of it: values, label, and where they lie.
    findings
        About its label and its further images.
    """

    case: Case
    measurement: Measurement
    digest: str
    voxels: tuple[str, ...]
    findings: tuple[Finding, ...]


def measured_cases(
    cases: Sequence[Case], data: DataChoice, findings: list[tuple[str, Finding]], progress: Progress
) -> list[Measured]:
    """Open cases, a few at a time; what is wrong with them is added to the findings."""

    def read(case: Case) -> Measured | Finding:
        loaded = load_case(case, data.label.labels, empty_is_negative=data.label.empty_is_negative)
        if isinstance(loaded, Finding):
            return loaded
        return Measured(case, measure(loaded), loaded.digest, loaded.digests(), loaded.findings)

    measured: list[Measured] = []
    for case, one in zip(cases, _side_by_side(read, cases, "reading cases", progress), strict=True):
        if isinstance(one, Finding):
            findings.append((case.pseudonym, one))
            continue
        findings += [(case.pseudonym, finding) for finding in one.findings]
        measured.append(one)
    return measured


def fingerprint_of(training: Sequence[Measured]) -> Fingerprint:
    """Sum up what the training cases look like."""
    return fingerprint([one.measurement for one in training])


def prepared_cases(
    training: Sequence[Measured],
    data: DataChoice,
    preparation: PreparationPlan,
    cache: Cache,
    progress: Progress,
) -> dict[str, CachedCase]:
    """Return every training case on the network's grid, by its name; what the cache holds isn't made again.

    Raises
    ------
    InputError
        A case has changed since it was measured.
    MachineError
        The cache can't be written.
    """
    keys = [entry_key(one.voxels, preparation) for one in training]

    def made(at: int) -> CachedCase:
        return find_entry(cache.folder, keys[at]) or add_entry(
            cache.folder, keys[at], _prepared(training[at], data, preparation)
        )

    cases = _side_by_side(made, range(len(training)), "preparing cases", progress)
    limit_cache(cache.folder, int(cache.limit_gb * 1e9), keys)
    return {one.case.pseudonym: case for one, case in zip(training, cases, strict=True)}


def _side_by_side(
    function: Callable[[Item], Result], items: Sequence[Item], doing: str, progress: Progress
) -> list[Result]:
    """Do something with each case, a few at once; results are in the order of the cases."""
    pool = ThreadPoolExecutor(min(MOST_AT_ONCE, os.cpu_count() or 1))
    # What it sets is the process's: held here, so that no thread takes it away from another.
    with foreign_file():
        try:
            return list(progress.track(pool.map(function, items), doing, len(items)))
        finally:
            pool.shutdown(cancel_futures=True)  # a mistake or a stop shall not wait for those in the queue


def _prepared(one: Measured, data: DataChoice, preparation: PreparationPlan) -> Prepared:
    loaded = load_case(one.case, data.label.labels, empty_is_negative=data.label.empty_is_negative)
    if isinstance(loaded, Finding) or loaded.digests() != one.voxels:
        message = f"{one.case.pseudonym} changed while it was read: start again."
        raise InputError(message)
    return prepare(loaded.volume, loaded.mask, preparation, loaded.further)
