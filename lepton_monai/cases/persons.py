"""Which patient ids are one person, so that nobody stands on two sides of a split."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path

from lepton_monai.core.errors import ConfigError
from lepton_monai.core.findings import Finding
from lepton_monai.core.wording import counted
from lepton_monai.dicom import Series
from lepton_monai.labels.tables import read_rows


def persons_of(
    series: Iterable[Series], same_person: Mapping[str, str]
) -> tuple[dict[str, str], list[Finding]]:
    """Join patient ids that share an image instance or a frame of reference, or that a table joins.

    Parameters
    ----------
    series
        Every volume that was found, used or not.
    same_person
        From patient id to person, as the user's table says it.

    Returns
    -------
    persons
        From patient key to a name for the person: the first of its keys.
    findings
        `same_patient_twice` for each person with several ids, but for those that the table joined.
    """
    groups = _Groups()
    owners: dict[Hashable, str] = {}
    for one in series:
        for header in one.headers:
            identity = header.identity
            key = identity.patient_key
            groups.add(key)
            shared: list[Hashable] = [("instance", identity.instance_uid)]
            if identity.frame_of_reference_uid:
                shared.append(("frame", identity.frame_of_reference_uid))
            for mark in shared:
                groups.join(owners.setdefault(mark, key), key)
    leaks = sum(len(members) - 1 for members in groups.all() if len(members) > 1)
    findings = []
    if leaks:
        message = f"Images or a frame of reference of another id: {counted(leaks, 'patient id')}."
        findings.append(Finding("same_patient_twice", message))
    by_person: dict[str, str] = {}
    for key in groups.keys():  # noqa: SIM118 - a method, not a mapping
        person = same_person.get(key.split("\x1f")[0])
        if person is not None:
            groups.join(by_person.setdefault(person, key), key)
    return {key: min(members) for members in groups.all() for key in members}, findings


def read_persons(path: Path) -> dict[str, str]:
    """Read a CSV with the columns ``patient_id`` and ``person``.

    Raises
    ------
    ConfigError
        The file can't be read, lacks a column, or names two persons for one id.
    """
    what = f"The table of persons {path}"
    found: dict[str, str] = {}
    for line, key, (person,) in read_rows(path, what, "patient_id", ("person",)):
        # No id in the message: it may go into a log.
        if found.setdefault(key, person) != person:
            message = f"{what} has two persons for one patient_id: line {line}."
            raise ConfigError(message)
    return found


class _Groups:
    """Disjoint sets of patient keys."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def add(self, key: str) -> None:
        self._parent.setdefault(key, key)

    def keys(self) -> list[str]:
        return list(self._parent)

    def join(self, one: str, other: str) -> None:
        self.add(one)
        self.add(other)
        first, second = self._root(one), self._root(other)
        self._parent[max(first, second)] = min(first, second)

    def all(self) -> list[list[str]]:
        groups: dict[str, list[str]] = defaultdict(list)
        for key in self._parent:
            groups[self._root(key)].append(key)
        return list(groups.values())

    def _root(self, key: str) -> str:
        while self._parent[key] != key:
            key = self._parent[key]
        return key
