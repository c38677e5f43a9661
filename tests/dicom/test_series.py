"""What is split, what is dropped, what is refused: one row of docs/DICOM.md a test."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lepton_monai.dicom import read_series, scan
from tests.dicom.changed import change, codes, the_refusal, the_series, the_volume
from tests.phantoms import Phantom, oblique_affine, tiny_ct, tiny_mr, unique_values

SHAPE = (7, 6, 5)


def _copy(phantom: Phantom, k: int, name: str, **changes: object) -> Path:
    path = phantom.paths[k].with_name(name)
    shutil.copy(phantom.paths[k], path)
    change(path, **changes)
    return path


def _two_stacks(folder: Path, keyword: str, first: object, second: object) -> list[NDArray[np.float64]]:
    """Write one series UID with two volumes at the same places that one tag tells apart."""
    truths = []
    for at, value in enumerate((first, second)):
        stored = unique_values(SHAPE, np.uint16, lowest=1000 * at)
        phantom = tiny_mr(folder / str(at), stored=stored, extra={keyword: value}, series_uid="1.2.9")
        for k, path in enumerate(phantom.paths):
            change(path, SOPInstanceUID=f"1.2.9.{at + 1}.{k + 1}")
        truths.append(np.asarray(stored, dtype=np.float64))
    return truths


# ------------------------------------------------------------------------------- one volume
def test_a_copy_of_a_file_is_dropped_with_a_word(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path)
    shutil.copy(phantom.paths[2], tmp_path / "again")
    assert codes(the_series(tmp_path)) == ["duplicate_instance"]
    np.testing.assert_array_equal(the_volume(tmp_path).array, phantom.values)


def test_one_instance_uid_with_two_images_is_refused(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path)
    path = _copy(phantom, 2, "other")
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x55
    path.write_bytes(content)
    assert the_refusal(tmp_path) == "conflicting_instance"


def test_equal_pixels_at_one_position_are_counted_once(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path)
    _copy(phantom, 3, "sent again", SOPInstanceUID="1.2.3.77")
    assert codes(the_series(tmp_path)) == ["duplicate_slice"]
    np.testing.assert_array_equal(the_volume(tmp_path).array, phantom.values)


def test_other_pixels_at_one_position_that_no_tag_tells_apart_are_refused(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path)
    path = _copy(phantom, 3, "conflict", SOPInstanceUID="1.2.3.77")
    content = bytearray(path.read_bytes())
    content[-3] ^= 0x55
    path.write_bytes(content)
    assert the_refusal(tmp_path) == "conflicting_duplicate"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"FrameOfReferenceUID": "1.2.3.4.5"}, "mixed_frame_of_reference"),
        ({"PixelSpacing": [1.9, 0.9]}, "mixed_pixel_spacing"),
        ({"RescaleSlope": None, "RescaleIntercept": None}, "rescale_incomplete"),
        ({"RescaleSlope": 0}, "bad_rescale"),
        ({"PatientID": "somebody else"}, "mixed_identity"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "bad_geometry"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_one_slice_that_does_not_belong_refuses_the_series(
    tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    phantom = tiny_ct(tmp_path)
    change(phantom.paths[2], **changes)
    assert the_refusal(tmp_path) == code


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"SliceThickness": 9.9}, "thickness_differs"),
        ({"InstanceNumber": 99}, "instance_number_not_spatial"),
        ({"BurnedInAnnotation": "YES"}, "burned_in_annotation"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "monochrome1"),
        ({"NumberOfSlices": 12}, "count_below_declared"),
        ({"RescaleIntercept": -1000}, "rescale_varies"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_worth_a_word_is_said_and_the_volume_used(
    tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    phantom = tiny_ct(tmp_path)
    change(phantom.paths[2], **changes)
    assert code in codes(the_series(tmp_path))


def test_tags_of_the_spacing_give_way_to_the_positions(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path, extra={"SpacingBetweenSlices": 9.0})
    series = the_series(tmp_path)
    assert "spacing_tag_disagrees" in codes(series)
    np.testing.assert_allclose(series.grid.affine, phantom.affine_lps, atol=1e-4)


# ------------------------------------------------------------------------------- split
@pytest.mark.parametrize(
    ("keyword", "first", "second", "code"),
    [
        ("EchoTime", 10, 80, "multiple_echoes"),
        ("DiffusionBValue", 0.0, 1000.0, "multiple_b_values"),
        ("TemporalPositionIdentifier", 1, 2, "multiple_time_points"),
        ("TriggerTime", 0, 400, "multiple_phases"),
        ("ImageType", ["ORIGINAL", "PRIMARY", "M"], ["ORIGINAL", "PRIMARY", "P"], "multiple_image_types"),
        ("AcquisitionNumber", 1, 2, "multiple_acquisitions"),
        ("StackID", "1", "2", "multiple_stacks"),
    ],
)
def test_two_volumes_in_one_series_are_split_by_the_tag_that_tells_them_apart(
    tmp_path: Path, keyword: str, first: object, second: object, code: str
) -> None:
    truths = _two_stacks(tmp_path, keyword, first, second)
    index = scan([tmp_path])
    assert not index.refused
    assert [series.part for series in index.series] == ["1 of 2", "2 of 2"]
    for series, truth in zip(index.series, truths, strict=True):
        assert code in codes(series)
        np.testing.assert_array_equal(read_series(series).array, truth)


def test_keys_nest_where_one_alone_is_not_enough(tmp_path: Path) -> None:
    for at, (echo, kind) in enumerate([(10, "M"), (10, "P"), (80, "M"), (80, "P")]):
        stored = unique_values(SHAPE, np.uint16, lowest=500 * at)
        extra = {"EchoTime": echo, "ImageType": ["ORIGINAL", "PRIMARY", kind]}
        phantom = tiny_mr(tmp_path / str(at), stored=stored, extra=extra, series_uid="1.2.9")
        for k, path in enumerate(phantom.paths):
            change(path, SOPInstanceUID=f"1.2.9.{at + 1}.{k + 1}")
    index = scan([tmp_path])
    assert not index.refused
    assert len(index.series) == 4
    assert {"multiple_echoes", "multiple_image_types"} <= set(codes(index.series[0]))


def test_a_hole_is_never_cut_into_stumps(tmp_path: Path) -> None:
    """Acquisition 1 has slices 0 and 1, acquisition 2 has 3 and 4: each pair would fit."""
    phantom = tiny_ct(tmp_path)
    for k, path in enumerate(phantom.paths):
        change(path, AcquisitionNumber=1 if k < 2 else 2)
    phantom.paths[2].unlink()
    assert the_refusal(tmp_path) == "missing_slice"


def test_a_localizer_inside_the_series_is_left_out(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path)
    _copy(
        phantom,
        0,
        "localizer",
        SOPInstanceUID="1.2.3.77",
        ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"],
        ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
    )
    index = scan([tmp_path])
    assert len(index.series) == 1
    assert [refused.finding.code for refused in index.refused] == ["localizer_in_series"]
    np.testing.assert_array_equal(read_series(index.series[0]).array, phantom.values)


def test_stacks_of_other_planes_in_one_series_are_volumes_of_their_own(tmp_path: Path) -> None:
    angles = ((0, 0, 0), (90, 0, 0))
    for at, angle in enumerate(angles):
        affine = oblique_affine(angles_deg=angle)
        phantom = tiny_ct(tmp_path / str(at), affine_lps=affine, series_uid="1.2.9")
        for k, path in enumerate(phantom.paths):
            change(path, SOPInstanceUID=f"1.2.9.{at + 1}.{k + 1}")
    index = scan([tmp_path])
    assert len(index.series) == 2
    assert all("mixed_orientation" in codes(series) for series in index.series)


def test_two_series_in_a_folder_are_never_merged(tmp_path: Path) -> None:
    """Interleaved by half a slice, they would make one finer stack."""
    first = oblique_affine()
    second = first.copy()
    second[:3, 3] += first[:3, 2] / 2
    names = [[f"{k}{at}" for k in range(5)] for at in "ab"]
    truths = [
        tiny_ct(tmp_path, affine_lps=affine, description=f"S{at}", file_names=names[at]).values
        for at, affine in enumerate((first, second))
    ]
    index = scan([tmp_path])
    assert len(index.series) == 2
    found = [read_series(series).array for series in index.series]
    for truth in truths:
        assert any(np.array_equal(one, truth) for one in found)
