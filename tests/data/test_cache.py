"""A prepared case is found by what it was made of: anything else gives another one."""

import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lepton_monai.cases.case import Case, LoadedCase, image_digest
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.data.cache import (
    IN_USE_SECONDS,
    MOST_PLACES,
    CachedCase,
    add_entry,
    entry_key,
    find_entry,
    limit_cache,
)
from lepton_monai.data.transforms import Prepared, prepare
from lepton_monai.labels.labelset import Mask
from lepton_monai.plans.plan import IntensityPlan, PreparationPlan

GRID = Grid((12, 10, 9), np.diag([-2.0, -1.5, 3.0, 1.0]))
PLAN = PreparationPlan(spacing_mm=(2.0, 2.0, 2.0), intensity=IntensityPlan(scheme="zscore"))


def loaded(seed: int = 0, grid: Grid = GRID, labelled: int = 3) -> LoadedCase:
    values = np.random.default_rng(seed).normal(size=grid.shape).astype(np.float32)
    mask = np.zeros(grid.shape, np.uint8)
    mask[2:labelled, 2:5, 3:6] = 1
    mask[6:8, 2:5, 3:6] = 2
    volume = Volume(values, grid, "1")
    case = Case("CT-1", "P-1", "1", "1", Path("nowhere"), None)
    return LoadedCase(case, volume, Mask(mask, grid), image_digest(volume))


def prepared(one: LoadedCase, plan: PreparationPlan = PLAN) -> Prepared:
    return prepare(one.volume, one.mask, plan)


def key_of(one: LoadedCase, plan: PreparationPlan = PLAN) -> str:
    return entry_key(one.digests(), plan)


def test_an_entry_holds_the_case_on_the_networks_grid(tmp_path: Path) -> None:
    one = loaded()
    expected = prepared(one)
    assert expected.label is not None
    case = add_entry(tmp_path, key_of(one), expected)
    np.testing.assert_array_equal(case.image, expected.image.numpy().astype(np.float16))
    np.testing.assert_array_equal(case.label, expected.label[0].numpy())
    for class_id, places in case.places.items():
        assert (case.label[tuple(places.T)] == class_id).all()
        assert len(places) == min(MOST_PLACES, int((case.label == class_id).sum()))
    assert set(case.places) == {1, 2}


def test_any_other_value_of_the_preparation_or_voxel_of_the_source_is_another_entry() -> None:
    one = loaded()
    moved = Grid(GRID.shape, GRID.affine + np.eye(4, k=3) * 1e-3)
    intensity = IntensityPlan(scheme="window", low=0.0, high=1.0)
    others = {
        "spacing": key_of(one, replace(PLAN, spacing_mm=(2.0, 2.0, 2.1))),
        "scheme": key_of(one, replace(PLAN, intensity=intensity)),
        "window": key_of(one, replace(PLAN, intensity=replace(intensity, high=2.0))),
        "values": key_of(loaded(seed=1)),
        "label": key_of(loaded(labelled=4)),
        "place": key_of(loaded(grid=moved)),
    }
    assert len({key_of(one), *others.values()}) == 1 + len(others)
    assert key_of(one) == key_of(loaded())


@pytest.mark.parametrize("name", ["image.npy", "label.npy", "places.npy", "entry.json"])
def test_a_damaged_entry_is_noticed_and_gone(tmp_path: Path, name: str) -> None:
    one = loaded()
    generator = np.random.default_rng(3)
    for _ in range(13):
        add_entry(tmp_path, key_of(one), prepared(one))
        assert find_entry(tmp_path, key_of(one)) is not None
        path = tmp_path / key_of(one) / name
        content = bytearray(path.read_bytes())
        # A digit of a digest, or a voxel: any one byte.
        at = int(generator.integers(20, len(content) - 4))
        content[at] ^= 1 << int(generator.integers(7))
        path.write_bytes(content)
        assert find_entry(tmp_path, key_of(one)) is None
        assert not (tmp_path / key_of(one)).exists()


def test_an_entry_that_was_never_finished_is_none(tmp_path: Path) -> None:
    one = loaded()
    add_entry(tmp_path, key_of(one), prepared(one))
    (tmp_path / key_of(one) / "entry.json").unlink()
    assert find_entry(tmp_path, key_of(one)) is None


def test_a_second_process_that_made_the_same_entry_is_no_trouble(tmp_path: Path) -> None:
    one = loaded()
    first = add_entry(tmp_path, key_of(one), prepared(one))
    second = add_entry(tmp_path, key_of(one), prepared(one))
    assert first.folder == second.folder
    assert [path.name for path in tmp_path.iterdir()] == [key_of(one)]


def test_a_case_goes_into_another_process_by_its_name(tmp_path: Path) -> None:
    one = loaded()
    case = add_entry(tmp_path, key_of(one), prepared(one))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        total = pool.apply(_total, (case,))
    assert total == float(case.image.astype(np.float64).sum())
    assert case.__reduce__()[1] == (case.folder,)


def _total(case: CachedCase) -> float:
    return float(case.image.astype(np.float64).sum())


def test_the_limit_takes_the_entries_that_were_used_longest_ago(tmp_path: Path) -> None:
    cases = [loaded(seed) for seed in range(4)]
    keys = [key_of(one) for one in cases]
    for one, key in zip(cases, keys, strict=True):
        add_entry(tmp_path, key, prepared(one))
    size = sum(path.stat().st_size for path in (tmp_path / keys[0]).iterdir())
    for age, key in enumerate(keys):
        used = time.time() - 2 * IN_USE_SECONDS - age
        os.utime(tmp_path / key / "entry.json", (used, used))
    assert find_entry(tmp_path, keys[2]) is not None  # used just now
    assert limit_cache(tmp_path, int(0.5 * size), keep=[keys[1]]) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([keys[1], keys[2]])


def test_half_entries_of_a_dead_process_are_cleared_those_of_a_live_one_are_not(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    process.wait()
    dead, live = (tmp_path / f".abc-{number}-12345678" for number in (process.pid, os.getpid()))
    dead.mkdir()
    live.mkdir()
    limit_cache(tmp_path, 0, keep=[])
    assert [path.name for path in tmp_path.iterdir()] == [live.name]
