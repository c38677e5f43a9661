"""Regions to classes: who wins, who belongs, what is said when nobody does."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from lepton_monai.core.errors import ConfigError, GeometryError
from lepton_monai.core.grid import Grid
from lepton_monai.labels.labelset import LabelClass, LabelSet, Mask, Region, Regions, merge

SHAPE = (5, 4, 3)
GRID = Grid(SHAPE, np.diag([1.0, 2.0, 3.0, 1.0]))

three_masks = st.tuples(*[arrays(np.bool_, SHAPE)] * 3)


def _classes(**patterns: str | tuple[str, ...]) -> LabelSet:
    return LabelSet(
        tuple(
            LabelClass(name, (given,) if isinstance(given, str) else given)
            for name, given in patterns.items()
        )
    )


def _regions(**masks: NDArray[np.bool_]) -> Regions:
    return Regions(tuple(Region((name,), mask) for name, mask in masks.items()), GRID)


def _codes(mask: Mask) -> list[str]:
    return [finding.code for finding in mask.findings]


@given(three_masks)
def test_where_classes_meet_the_one_named_first_wins(masks: tuple[NDArray[np.bool_], ...]) -> None:
    drawn = _regions(**dict(zip("abc", masks, strict=True)))
    merged = merge(drawn, _classes(first="b", second="c", third="a"))
    expected = np.select([masks[1], masks[2], masks[0]], [1, 2, 3])
    np.testing.assert_array_equal(merged.array, expected)
    assert merged.array.dtype == np.uint8


@given(three_masks)
def test_each_contested_voxel_is_counted_once(masks: tuple[NDArray[np.bool_], ...]) -> None:
    drawn = _regions(**dict(zip("abc", masks, strict=True)))
    merged = merge(drawn, _classes(one="a", two="b", three="c"))
    contested = int((np.sum(masks, axis=0) > 1).sum())
    said = [finding.message for finding in merged.findings if finding.code == "labels_overlap"]
    assert said == (
        [f"{contested} voxel{'s' * (contested != 1)} in more than one class."] if contested else []
    )


def test_an_absent_class_is_told_beside_what_is_there_the_likest_first() -> None:
    drawn = replace(_regions(Liver=np.ones(SHAPE, dtype=np.bool_)), unread=("GTVp", "Heart"))
    (absent,) = merge(drawn, _classes(tumour="GTV-*")).findings
    assert (absent.code, absent.names[0], sorted(absent.names)) == (
        "label_absent",
        "GTVp",
        ["GTVp", "Heart", "Liver"],
    )
    assert "GTVp" not in absent.sentence()


def test_several_regions_of_one_class_are_joined_and_not_contested() -> None:
    left, right = np.zeros(SHAPE, dtype=np.bool_), np.zeros(SHAPE, dtype=np.bool_)
    left[:3], right[2:] = True, True
    merged = merge(_regions(GTV_1=left, gtv_2=right), _classes(tumour="GTV*"))
    assert (merged.array == 1).all()
    assert merged.findings == ()


@pytest.mark.parametrize(
    ("pattern", "name", "belongs"),
    [
        ("GTV*", "gtv_mass_pet", True),
        ("gtv*", "GTV", True),
        ("*mass*", "GTV_Mass_CT", True),
        ("GTV", "GTV_2", False),
        ("GTV?", "GTV2", True),
        ("GTV?", "GTV", False),
        ("1", "1", True),
        ("1", "10", False),
        ("GTV [boost]", "gtv [BOOST]", True),
        ("GTV [boost]", "GTV b", False),
        ("[!x]", "y", False),
        ("GTV.*", "GTV", False),
        ("STRASSE", "straße", True),
        ("*", "", True),
        ("", "", True),
        ("GTV*", "a\nGTV", False),
    ],
)
def test_a_pattern_has_stars_and_question_marks_and_no_case(pattern: str, name: str, belongs: bool) -> None:
    assert LabelClass("tumour", (pattern,)).matches((name,)) is belongs


def test_a_segment_is_found_by_its_label_or_its_number() -> None:
    chosen = _classes(liver=("liver*", "7"))
    assert chosen.matches(("Liver left", "2"))
    assert chosen.matches(("organ", "7"))
    assert not chosen.matches(("organ", "8"))
    assert chosen.matches(iter(("organ", "7")))


def test_a_class_without_a_region_is_absent_and_one_without_a_voxel_is_empty() -> None:
    nothing = np.zeros(SHAPE, dtype=np.bool_)
    merged = merge(_regions(GTV=nothing), _classes(tumour="GTV", node=("node*", "LN*")))
    assert not merged.array.any()
    assert sorted(_codes(merged)) == ["label_absent", "label_empty"]
    (absent,) = [finding for finding in merged.findings if finding.code == "label_absent"]
    assert "node* or LN*" in absent.message
    assert "for the class node" in absent.message


def test_255_classes_keep_their_numbers() -> None:
    shape = (16, 16, 1)
    numbers = np.arange(256).reshape(shape)
    drawn = Regions(
        tuple(Region((str(n),), numbers == n) for n in range(1, 256)), Grid(shape, np.diag([1.0, 1, 1, 1]))
    )
    labels = LabelSet(tuple(LabelClass(f"class {n}", (str(n),)) for n in range(1, 256)))
    np.testing.assert_array_equal(merge(drawn, labels).array, numbers)


def test_the_256th_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="at most 255 classes, these are 256"):
        LabelSet(tuple(LabelClass(str(n), (str(n),)) for n in range(256)))


def test_what_was_found_while_reading_stays() -> None:
    reading = merge(_regions(), _classes(tumour="GTV")).findings
    again = merge(Regions((), GRID, reading), _classes(tumour="GTV"))
    assert _codes(again) == ["label_absent", "label_absent"]


def test_a_mask_that_does_not_fit_its_grid_is_refused() -> None:
    with pytest.raises(GeometryError, match=r"\(4, 4, 3\) doesn't fit a grid of \(5, 4, 3\)"):
        Mask(np.zeros((4, 4, 3), dtype=np.uint8), GRID)


def test_a_printed_mask_is_one_short_line() -> None:
    assert str(merge(_regions(), _classes(tumour="GTV"))) == "mask of (5, 4, 3) voxels"
