"""Every series of the catalogue is right, or refused by its name: never wrong."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pytest
from numpy.typing import DTypeLike

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.core.findings import RULES
from lepton_monai.core.volume import Volume
from lepton_monai.dicom import Index, RefusedSeries, Series, read_series, regularise, repair, scan
from lepton_monai.dicom.repair import Repair
from tests.dicom.catalogue import CATALOGUE, CatalogueSeries, TrueVolume, Truth


@pytest.fixture(scope="module")
def outcomes() -> Iterator[Counter[str]]:
    """Count what came of the series, and print it at the end."""
    came: Counter[str] = Counter()
    yield came
    print(
        f"\n{came['series']} series: {came['right']} right, {came['refused']} refused by name, "
        f"{came['series'] - came['proved']} wrong"
    )


def _read(series: Iterable[Series], dtype: DTypeLike | None) -> tuple[list[Volume], list[str]]:
    """Return every volume, and the codes of what is refused not before its pixels are read."""
    volumes: list[Volume] = []
    codes: list[str] = []
    for one in series:
        try:
            volumes.append(read_series(one, dtype))
        except SeriesRefused as refusal:
            codes.append(refusal.finding.code)
    return volumes, codes


def _assert_right(found: Sequence[Volume], truth: Sequence[TrueVolume]) -> None:
    """Every volume is one of the true ones, in its unit, with its unmeasured voxels marked."""
    assert len(found) == len(truth)
    left = list(truth)
    for volume in found:
        errors = [one.error(volume.array, volume.grid.affine) for one in left]
        assert "" in errors, errors
        one = left.pop(errors.index(""))
        assert volume.unit == one.unit
        valid = volume.array.size if volume.valid is None else int(volume.valid.sum())
        assert valid == np.isfinite(one.values).sum()


def _assert_slab(series: Series, whole: Volume) -> None:
    """Some slices alone are the same as in the whole, and lie where they lie there."""
    count = series.grid.shape[2]
    slices = range(count // 3, max(count - 1, count // 3 + 1))
    slab = read_series(series, slices=slices)
    measured = slice(None) if slab.valid is None else slab.valid
    np.testing.assert_array_equal(slab.array[measured], whole.array[:, :, slices][measured])
    there = whole.grid.to_world(np.array([[0, 0, slices.start]]))
    np.testing.assert_allclose(slab.grid.to_world(np.zeros((1, 3))), there, atol=1e-9)


def _assert_repaired(refused: Sequence[RefusedSeries], truth: Truth) -> None:
    for names, volumes in truth.repaired.items():
        assert set(names) <= set(get_args(Repair))
        allowed = cast("tuple[Repair, ...]", names)
        _assert_right([read_series(series) for one in refused for series in repair(one, allowed)], volumes)
    if truth.linear is None:
        return
    for one in refused:
        volume = regularise(one)
        assert volume is not None
        index = np.argwhere(np.ones(volume.grid.shape) if volume.valid is None else volume.valid)
        expected = volume.grid.to_world(index) @ truth.linear[:3] + truth.linear[3]
        np.testing.assert_allclose(volume.array[tuple(index.T)], expected, atol=0.02)


def _codes(index: Index) -> list[str]:
    return sorted(refused.finding.code for refused in index.refused)


@pytest.mark.parametrize("one", CATALOGUE.values(), ids=list(CATALOGUE))
def test_a_series_of_the_catalogue_is_right_or_refused_by_its_name(
    tmp_path: Path, one: CatalogueSeries, outcomes: Counter[str]
) -> None:
    outcomes["series"] += 1
    truth = one.write(tmp_path / "files")
    index = scan([tmp_path / "files"], database=tmp_path / "index")
    volumes, late_codes = _read(index.series, np.float32)
    assert sorted([*_codes(index), *late_codes]) == sorted(truth.refused)
    assert sorted(finding.code for finding in index.findings) == sorted(truth.passed_over)
    assert {finding.code for volume in volumes for finding in volume.findings} == truth.notes
    _assert_right(volumes, truth.volumes)
    _assert_repaired(index.refused, truth)
    for series, volume in zip(index.series, volumes, strict=not late_codes):
        _assert_slab(series, volume)
    again = scan([tmp_path / "files"], database=tmp_path / "index")
    assert (_codes(again), again.findings) == (_codes(index), index.findings)
    _assert_right(_read(again.series, None)[0], truth.volumes)
    # Of some series a part is right and another refused.
    outcomes.update(right=bool(truth.volumes), refused=bool(truth.refused or truth.passed_over), proved=1)


def test_every_row_of_the_catalogue_that_is_a_code_is_one_of_the_registry() -> None:
    codes = {code for one in CATALOGUE.values() for code in one.row.split() if "_" in code}
    assert codes <= set(RULES)
