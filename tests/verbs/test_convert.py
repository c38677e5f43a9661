"""Trees of DICOM as NIfTI: the truth of the phantoms, read back by nibabel."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from lepton_monai.core.errors import OutputFolderError
from lepton_monai.core.grid import LPS_TO_RAS
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.verbs.convert import NO_REPAIRS, ConvertReport, Repairs, convert
from sample_data.dicom_files import identity
from tests.dicom.changed import change
from tests.phantoms import Phantom, oblique_affine, tiny_ct, tiny_mr, tiny_pet, unique_values

SHAPE = (9, 8, 7)
NAMES = Pseudonyms(b"n" * 32)


def _convert(folder: Path, out: Path, repairs: Repairs = NO_REPAIRS, **options: Any) -> ConvertReport:
    return convert([folder], out, repairs=repairs, pseudonyms=NAMES, **options)


def _image(path: Path) -> nibabel.Nifti1Image:
    image = nibabel.load(path)
    assert isinstance(image, nibabel.Nifti1Image)
    return image


def _the_image(out: Path) -> tuple[nibabel.Nifti1Image, dict[str, Any]]:
    (path,) = (one for one in out.glob("*.json") if one.with_suffix(".nii.gz").exists())
    return _image(path.with_suffix(".nii.gz")), json.loads(path.read_text(encoding="utf-8"))


def _values(image: nibabel.Nifti1Image) -> NDArray[Any]:
    return np.asarray(image.dataobj)


def _codes(content: dict[str, Any]) -> list[str]:
    return [finding["code"] for finding in content["Findings"]]


def _two_echoes(folder: Path) -> list[Phantom]:
    """Write the longer echo first, under the lower instance numbers."""
    phantoms = []
    for at, echo_ms in enumerate((80, 15)):
        stored = unique_values(SHAPE, np.uint16, lowest=1000 * at)
        phantom = tiny_mr(folder / str(at), stored=stored, series_uid="1.2.9", extra={"EchoTime": echo_ms})
        for k, path in enumerate(phantom.paths):
            change(path, SOPInstanceUID=f"1.2.9.{at}.{k + 1}", InstanceNumber=at * SHAPE[2] + k + 1)
        phantoms.append(phantom)
    return phantoms


# ------------------------------------------------------------------------------- values and places
def test_every_series_of_a_tree_has_the_voxels_and_the_places_of_its_phantom(tmp_path: Path) -> None:
    phantoms = {
        "CT": tiny_ct(tmp_path / "in" / "a", SHAPE, who=identity("a")),
        "MR": tiny_mr(tmp_path / "in" / "b", (6, 11, 5), who=identity("b")),
        "PT": tiny_pet(tmp_path / "in" / "c", (5, 4, 6), who=identity("c")),
    }
    done = _convert(tmp_path / "in", tmp_path / "out")
    assert [image.name[:2] for image in done.written] == ["CT", "MR", "PT"]
    types = {"CT": "int16", "MR": "int16", "PT": "float32"}
    for image in done.written:
        found, phantom = _image(tmp_path / "out" / f"{image.name}.nii.gz"), phantoms[image.name[:2]]
        np.testing.assert_allclose(_values(found), phantom.values, rtol=1e-6)
        np.testing.assert_allclose(found.affine, LPS_TO_RAS @ phantom.affine_lps, atol=1e-4)
        assert found.get_data_dtype() == types[image.name[:2]]
    assert done.left_out == ()


def test_the_volumes_of_a_series_say_which_part_they_are_and_what_tells_them_apart(tmp_path: Path) -> None:
    late, early = _two_echoes(tmp_path / "in")
    done = _convert(tmp_path / "in", tmp_path / "out")
    contents = [json.loads((tmp_path / "out" / f"{one.name}.json").read_text()) for one in done.written]
    assert [content["Part"] for content in contents] == ["1 of 2", "2 of 2"]
    assert [content["EchoTime"] for content in contents] == [0.015, 0.08]
    assert [content["Volumes"][0]["EchoTime"] for content in contents] == [0.015, 0.08]
    assert len({content["Series"] for content in contents}) == 1
    for one, phantom in zip(done.written, (early, late), strict=True):
        found = _values(_image(tmp_path / "out" / f"{one.name}.nii.gz"))
        np.testing.assert_array_equal(found, phantom.values)


def test_volumes_on_one_grid_are_one_file_in_the_order_of_their_key_on_request(tmp_path: Path) -> None:
    late, early = _two_echoes(tmp_path / "in")
    _convert(tmp_path / "in", tmp_path / "out", join_time=True)
    image, content = _the_image(tmp_path / "out")
    np.testing.assert_array_equal(_values(image), np.stack([early.values, late.values], axis=3))
    assert [one["EchoTime"] for one in content["Volumes"]] == [0.015, 0.08]
    assert "Part" not in content


def test_volumes_that_instance_numbers_alone_tell_apart_are_joined_too(tmp_path: Path) -> None:
    first, second = _two_echoes(tmp_path / "in")
    for path in (*first.paths, *second.paths):
        change(path, EchoTime=15)
    _convert(tmp_path / "in", tmp_path / "out", Repairs(by_instance_number=True), join_time=True)
    image, content = _the_image(tmp_path / "out")
    np.testing.assert_array_equal(_values(image), np.stack([first.values, second.values], axis=3))
    assert "split_by_instance_number" in _codes(content)


# ------------------------------------------------------------------------------- repairs
def _tilted(degrees: float, spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    affine = oblique_affine(spacing_mm)
    affine[:3, 2] += np.tan(np.radians(degrees)) * spacing_mm[2] * affine[:3, 1] / spacing_mm[1]
    return affine


def test_a_tilt_is_kept_in_a_sform_alone(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path / "in", SHAPE, affine_lps=_tilted(14, (0.9, 1.3, 2.7)))
    _convert(tmp_path / "in", tmp_path / "out")
    image, content = _the_image(tmp_path / "out")
    np.testing.assert_array_equal(_values(image), phantom.values)
    np.testing.assert_allclose(image.affine, LPS_TO_RAS @ phantom.affine_lps, atol=1e-4)
    assert (image.header["sform_code"], image.header["qform_code"]) == (1, 0)
    assert _codes(content) == ["kept_sheared"]


def test_a_tilted_ball_keeps_its_centre_and_its_volume_when_it_is_resampled(tmp_path: Path) -> None:
    shape, affine, radius = (50, 46, 30), _tilted(15, (1.0, 1.1, 1.7)), 14.0
    world = np.indices(shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    centre = affine[:3, :3] @ (np.array(shape) / 2 + (0.3, -0.2, 0.1)) + affine[:3, 3]
    inside = np.clip((radius - np.linalg.norm(world - centre, axis=1)) / 2 + 0.5, 0, 1)
    stored = np.rint(1000 * inside).reshape(shape).astype(np.int16)
    tiny_ct(tmp_path / "in", stored=stored, affine_lps=affine)
    _convert(tmp_path / "in", tmp_path / "out", Repairs(regularise=True))
    image, content = _the_image(tmp_path / "out")
    mass = (_values(image) + 1024.0) / 2000.0
    axes = image.affine[:3, :3] / np.linalg.norm(image.affine[:3, :3], axis=0)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)
    index = np.indices(mass.shape).reshape(3, -1).T
    found = (index * mass.reshape(-1, 1)).sum(axis=0) / mass.sum()
    np.testing.assert_allclose(
        nibabel.affines.apply_affine(image.affine, found), centre * (-1, -1, 1), atol=0.02
    )
    volume = mass.sum() * abs(np.linalg.det(image.affine[:3, :3]))
    # A ball whose edge falls linearly over 2 mm holds 4/3 pi (r^3 + r) in closed form.
    assert volume == pytest.approx(4 / 3 * np.pi * (radius**3 + radius), rel=2e-3)
    assert _codes(content)[-1] == "regularised"
    mask = _image(tmp_path / "out" / content["ValidMask"])
    assert mask.get_data_dtype() == np.uint8
    assert 0 < _values(mask).mean() < 1


def test_padding_is_never_mixed_into_what_is_resampled(tmp_path: Path) -> None:
    by_column = 100 + 100 * np.arange(SHAPE[0])  # the tilt moves along the other axes
    stored = np.broadcast_to(by_column[:, None, None], SHAPE).astype(np.int16)
    stored[:, :2] = -2000
    tiny_ct(
        tmp_path / "in",
        stored=stored,
        affine_lps=_tilted(14, (0.9, 1.3, 2.7)),
        extra={"PixelPaddingValue": -2000},
    )
    _convert(tmp_path / "in", tmp_path / "out", Repairs(regularise=True))
    image, content = _the_image(tmp_path / "out")
    valid = _values(_image(tmp_path / "out" / content["ValidMask"])) > 0
    assert 0 < valid.sum() < valid.size
    expected = np.broadcast_to((by_column * 2.0 - 1024)[:, None, None], valid.shape)
    np.testing.assert_allclose(_values(image)[valid], expected[valid], atol=1e-3)


def test_a_gap_is_filled_on_request_and_a_mask_says_where_nothing_was_measured(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path / "in", SHAPE)
    phantom.paths[3].unlink()
    _convert(tmp_path / "in", tmp_path / "out", Repairs(fill_gaps=True))
    image, content = _the_image(tmp_path / "out")
    there = [0, 1, 2, 4, 5, 6]
    np.testing.assert_array_equal(_values(image)[..., there], phantom.values[..., there])
    valid = _values(_image(tmp_path / "out" / content["ValidMask"]))
    assert (valid[..., there].min(), valid[..., 3].max()) == (1, 0)
    assert "gap_filled" in _codes(content)


def test_a_tilted_ramp_with_a_gap_is_kept_exactly_if_both_repairs_are_asked_for(tmp_path: Path) -> None:
    stored = (100 + np.indices(SHAPE).reshape(3, -1).T @ (3, 5, 7)).reshape(SHAPE).astype(np.int16)
    affine = _tilted(14, (0.9, 1.3, 2.7))
    tiny_ct(tmp_path / "in", stored=stored, affine_lps=affine).paths[3].unlink()
    tiny_mr(tmp_path / "in" / "other", SHAPE)
    for number, repairs in enumerate((NO_REPAIRS, Repairs(regularise=True))):
        done = _convert(tmp_path / "in", tmp_path / f"{number}", repairs)
        assert [finding.code for _, finding in done.left_out] == ["missing_slice"]
    done = _convert(tmp_path / "in", tmp_path / "both", Repairs(regularise=True, fill_gaps=True))
    assert [finding.code for finding in done.written[0].findings][-2:] == ["gap_filled", "regularised"]
    image = _image(tmp_path / "both" / f"{done.written[0].name}.nii.gz")
    valid = _values(_image(tmp_path / "both" / f"{done.written[0].name}_valid.nii.gz")) > 0
    assert [bool(plane.any()) for plane in valid.T] == [True, True, True, False, True, True, True]
    world = nibabel.affines.apply_affine(LPS_TO_RAS @ image.affine, np.argwhere(valid))
    there = nibabel.affines.apply_affine(np.linalg.inv(affine), world)
    np.testing.assert_allclose(_values(image)[valid], (100 + there @ (3, 5, 7)) * 2 - 1024, atol=1e-2)


def test_a_mended_part_never_takes_the_name_of_another_part(tmp_path: Path) -> None:
    """One series with a straight stack and a tilted one of another matrix: both are written."""
    straight = tiny_ct(tmp_path / "in" / "a", SHAPE, series_uid="1.2.9")
    tilted = tiny_ct(
        tmp_path / "in" / "b", (11, 8, 7), affine_lps=_tilted(14, (0.9, 1.3, 2.7)), series_uid="1.2.9"
    )
    for k, path in enumerate(tilted.paths):
        change(path, SOPInstanceUID=f"1.2.9.{k + 1}")
    done = _convert(tmp_path / "in", tmp_path / "out")
    found = {_values(_image(path)).shape for path in (tmp_path / "out").glob("*.nii.gz")}
    assert found == {straight.shape, tilted.shape}
    assert len({one.name for one in done.written}) == 2


# ------------------------------------------------------------------------------- the folder
KILLED = """
import os, signal, sys
from pathlib import Path
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.verbs.convert import convert

class UntilTheThird:
    def track(self, items, label, total):
        for number, item in enumerate(items):
            if label == "converting" and number == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            yield item
    def say(self, line): ...

convert([Path(sys.argv[1])], Path(sys.argv[2]), pseudonyms=Pseudonyms(b"n" * 32), progress=UntilTheThird())
"""


def _contents(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_killed_run_goes_on_where_it_was_and_ends_like_one_that_was_not_killed(tmp_path: Path) -> None:
    for number in range(4):
        tiny_ct(tmp_path / "in" / str(number), SHAPE, who=identity(f"patient {number}"))
    out = tmp_path / "out"
    died = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "in"), str(out)], check=False)
    assert died.returncode == -signal.SIGKILL
    images = sorted(out.glob("CT-*.nii.gz"))
    assert len(images) == 2
    images[0].with_name(images[0].name.replace(".nii.gz", ".json")).unlink()  # killed before it was whole
    os.utime(images[1], ns=(1, 1))
    with pytest.raises(OutputFolderError, match="go on with --resume"):
        _convert(tmp_path / "in", out)
    done = _convert(tmp_path / "in", out, resume=True)
    assert (len(done.written), done.already_there) == (3, 1)
    assert images[1].stat().st_mtime_ns == 1
    _convert(tmp_path / "in", tmp_path / "at once")
    assert _contents(out) == _contents(tmp_path / "at once")
    again = _convert(tmp_path / "in", out, resume=True)
    assert (again.written, again.already_there) == ((), 4)


def test_images_made_with_other_options_are_never_mixed(tmp_path: Path) -> None:
    tiny_ct(tmp_path / "in", SHAPE, affine_lps=_tilted(14, (0.9, 1.3, 2.7)))
    _convert(tmp_path / "in", tmp_path / "out")
    before = _contents(tmp_path / "out")
    with pytest.raises(OutputFolderError, match="made with other options"):
        _convert(tmp_path / "in", tmp_path / "out", Repairs(regularise=True), resume=True)
    assert _contents(tmp_path / "out") == before


def test_the_key_alone_says_whose_an_image_is(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path / "in", SHAPE)
    (image,) = _convert(tmp_path / "in", tmp_path / "out").written
    key = tmp_path / "out" / "key.json"
    assert key.stat().st_mode & 0o777 == 0o600
    entry = json.loads(key.read_text(encoding="utf-8"))[image.name]
    assert (entry["patient_id"], entry["series_uid"]) == (phantom.who.patient_id, phantom.series_uid)
    others = [content for name, content in _contents(tmp_path / "out").items() if name != "key.json"]
    words = (phantom.who.patient_id, phantom.series_uid, phantom.who.study_uid)
    assert not [word for word in words for content in others if word.encode() in content]


def test_a_modality_that_is_a_path_leads_nowhere(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path / "in", SHAPE)
    for path in phantom.paths:
        path.write_bytes(path.read_bytes().replace(b"CS\x02\x00CT", b"CS\x08\x00../../XX"))
    (image,) = _convert(tmp_path / "in", tmp_path / "deep" / "out").written
    assert (tmp_path / "deep" / "out" / f"{image.name}.nii.gz").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "in"]
