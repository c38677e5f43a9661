"""pydicom is the oracle of the walker: on every file the two agree, or ours refuses."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from lepton_monai.core.findings import Finding
from lepton_monai.dicom.file import parse_file
from lepton_monai.dicom.recall import Recall
from tests.dicom.by_pydicom import TEST_FILES, disagreements
from tests.dicom.mutated import SEEDS, mutations


def _judged(path: Path, recall: Recall) -> str:
    """Return how the walker's opinion of a file relates to pydicom's."""
    parsed = parse_file(path)
    recalled = parse_file(path, recall)
    if getattr(recalled, "elements", recalled) != getattr(parsed, "elements", parsed):
        return f"{path.name} reads otherwise by what others had"
    if isinstance(parsed, Finding):
        return "refused"
    wrong = disagreements(parsed, path)
    if wrong is None:
        return "pydicom refuses"
    return f"{path.name}: {', '.join(wrong)}" if wrong else "agree"


def _assert_agreement(paths: Iterable[Path], what: str) -> Counter[str]:
    recall = Recall()
    counts: Counter[str] = Counter(_judged(path, recall) for path in paths)
    print(f"{counts.total()} {what}: {dict(counts)}")
    assert set(counts) <= {"agree", "refused", "pydicom refuses"}
    return counts


def _files(folder: Path) -> list[Path]:
    return sorted(Path(at, name) for at, _, names in os.walk(folder) for name in names)


def test_the_walker_agrees_with_pydicom_on_its_own_files() -> None:
    counts = _assert_agreement(_files(TEST_FILES), "files of pydicom")
    assert counts["agree"] > 100


@pytest.mark.data
def test_the_walker_agrees_with_pydicom_on_all_real_files(data_folder: Path) -> None:
    counts = _assert_agreement(_files(data_folder), "real files")
    assert counts["agree"] > 4000


@pytest.mark.parametrize("name", list(SEEDS))
def test_the_walker_agrees_with_pydicom_on_mutated_files(tmp_path: Path, name: str) -> None:
    (original,) = SEEDS[name](tmp_path / "seed")
    assert _judged(original, Recall()) == "agree"
    generator = np.random.default_rng(5)
    path = tmp_path / "mutated"

    def written() -> Iterable[Path]:
        for content in mutations(original.read_bytes(), generator, 40):
            path.write_bytes(content)
            yield path

    _assert_agreement(written(), f"mutated {name}")
