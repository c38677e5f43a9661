"""Segments to masks: what highdicom and dcmqi wrote comes back on the image's grid, or is refused."""

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pack_bits
from pydicom.uid import RLELossless

from lepton_monai.core.errors import InputError, LabelError
from lepton_monai.core.grid import Grid
from lepton_monai.dicom import scan
from lepton_monai.labels.labelset import Regions
from lepton_monai.labels.seg import read_segments
from sample_data.label_files import SegOptions, write_seg
from tests.phantoms import Phantom, oblique_affine, orientations, rough_mask, tiny_ct

BINARY = SegOptions()
FRACTIONAL = SegOptions(segmentation_type="FRACTIONAL")
LABELMAP = SegOptions(segmentation_type="LABELMAP")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Phantom:
    return tiny_ct(tmp_path_factory.mktemp("seg") / "ct")


def _grid(image: Phantom) -> Grid:
    return Grid(image.shape, image.affine_lps)


def _parts(shape: tuple[int, int, int]) -> dict[str, NDArray[np.bool_]]:
    """Return masks that don't meet; the last is empty."""
    first = rough_mask(shape)
    second = rough_mask(shape, seed=3) & ~first
    return {"GTV": first, "node": second, "nothing": np.zeros(shape, dtype=np.bool_)}


def _require(drawn: Regions, truth: dict[str, NDArray[np.bool_]]) -> None:
    assert [region.names for region in drawn.regions] == [
        (name, str(number)) for number, name in enumerate(truth, start=1)
    ]
    for region, mask in zip(drawn.regions, truth.values(), strict=True):
        np.testing.assert_array_equal(region.mask, mask)


def _changed(path: Path, change: Callable[[Dataset], None]) -> Path:
    dataset = dcmread(path)
    change(dataset)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("shape", [(7, 6, 5), (5, 3, 4), (9, 7, 3), (9, 1, 3), (13, 1, 3), (8, 4, 3)])
@pytest.mark.parametrize("omit", [True, False], ids=["frames omitted", "all frames"])
def test_bits_that_cross_byte_borders_come_back(
    tmp_path: Path, shape: tuple[int, int, int], omit: bool
) -> None:
    image = tiny_ct(tmp_path / "ct", shape)
    truth = _parts(shape)
    truth["GTV"][0, 0, 1] = True  # highdicom refuses to omit every frame
    path = write_seg(tmp_path / "seg", truth, image.paths, replace(BINARY, omit_empty_frames=omit))
    _require(read_segments(path, _grid(image)), truth)


@pytest.mark.parametrize("options", [BINARY, FRACTIONAL, LABELMAP], ids=lambda one: one.segmentation_type)
def test_every_type_of_segmentation_gives_its_masks(
    tmp_path: Path, image: Phantom, options: SegOptions
) -> None:
    truth = _parts(image.shape)
    drawn = read_segments(write_seg(tmp_path / "seg", truth, image.paths, options), _grid(image))
    _require(drawn, truth)
    noted = ["segmentation_not_binary"] * (options is FRACTIONAL)
    assert [finding.code for finding in drawn.findings] == noted


@pytest.mark.parametrize("options", [FRACTIONAL, LABELMAP], ids=lambda one: one.segmentation_type)
def test_a_compressed_segmentation_gives_its_masks(
    tmp_path: Path, image: Phantom, options: SegOptions
) -> None:
    truth = _parts(image.shape)
    path = write_seg(tmp_path / "seg", truth, image.paths, options)
    _changed(path, lambda dataset: dataset.compress(RLELossless, generate_instance_uid=False))
    assert dcmread(path).file_meta.TransferSyntaxUID == RLELossless
    _require(read_segments(path, _grid(image)), truth)


def test_segments_that_overlap_stay_apart(tmp_path: Path, image: Phantom) -> None:
    truth = {"GTV": rough_mask(), "CTV": rough_mask() | rough_mask(seed=3), "again": rough_mask()}
    assert (truth["GTV"] & truth["CTV"]).any()
    _require(read_segments(write_seg(tmp_path / "seg", truth, image.paths), _grid(image)), truth)


def test_frames_in_any_order_go_where_their_position_says(tmp_path: Path, image: Phantom) -> None:
    truth = {"GTV": rough_mask(), "CTV": rough_mask(seed=3)}

    def shuffle(dataset: Dataset) -> None:
        frames = dataset.pixel_array
        order = np.random.default_rng(0).permutation(len(frames))
        groups = dataset.PerFrameFunctionalGroupsSequence
        dataset.PerFrameFunctionalGroupsSequence = [groups[int(at)] for at in order]
        dataset.PixelData = pack_bits(frames[order])

    path = _changed(write_seg(tmp_path / "seg", truth, image.paths), shuffle)
    _require(read_segments(path, _grid(image)), truth)


def test_half_a_fraction_is_inside_and_less_is_not(tmp_path: Path, image: Phantom) -> None:
    path = write_seg(
        tmp_path / "seg", {"GTV": np.ones(image.shape, dtype=np.bool_)}, image.paths, FRACTIONAL
    )
    values = np.resize([0, 1, 99, 100, 101, 199, 200], (5, 6, 7)).astype(np.uint8)

    def fractions(dataset: Dataset) -> None:
        dataset.MaximumFractionalValue = 200
        dataset.PixelData = values.tobytes()

    drawn = read_segments(_changed(path, fractions), _grid(image))
    np.testing.assert_array_equal(drawn.regions[0].mask, (values >= 100).transpose(2, 1, 0))
    assert "at least half" in drawn.findings[0].sentence()


def test_the_padding_value_of_a_labelmap_is_no_segment(tmp_path: Path, image: Phantom) -> None:
    truth = _parts(image.shape)
    path = write_seg(tmp_path / "seg", truth, image.paths, LABELMAP)

    def pad_with_two(dataset: Dataset) -> None:
        dataset.PixelPaddingValue = 2

    drawn = read_segments(_changed(path, pad_with_two), _grid(image))
    found = {region.names[0]: region.mask for region in drawn.regions}
    assert list(found) == ["Background", "GTV", "nothing"]
    described = truth["GTV"].any(axis=(0, 1))  # frames that are there hold background in the open
    background = ~truth["GTV"] & ~truth["node"] & described
    np.testing.assert_array_equal(found["Background"], background)


def test_a_segmentation_of_many_numbers_keeps_them(tmp_path: Path, image: Phantom) -> None:
    """300 segments make a LABELMAP of 16 bits."""
    truth = {f"part {n}": np.zeros(image.shape, dtype=np.bool_) for n in range(1, 301)}
    for n, mask in enumerate(truth.values()):
        mask[n % 7, n // 7 % 6, n // 42 % 5] = n < 210
    path = write_seg(tmp_path / "seg", truth, image.paths, replace(LABELMAP, omit_empty_frames=False))
    assert dcmread(path).BitsAllocated == 16
    _require(read_segments(path, _grid(image)), truth)


@pytest.mark.parametrize("number", range(0, 48, 5))
def test_a_series_in_any_orientation_gets_its_segments(tmp_path: Path, number: int) -> None:
    affine = oblique_affine((1.0, 1.0, 1.0))
    affine[:3, :3] = affine[:3, :3] @ orientations()[number] * (0.9, 1.3, 2.7)
    image = tiny_ct(tmp_path / "ct", affine_lps=affine)
    truth = {"GTV": rough_mask()}
    _require(read_segments(write_seg(tmp_path / "seg", truth, image.paths), _grid(image)), truth)


def test_an_image_whose_axes_are_turned_or_reordered_gets_its_segments_turned(
    tmp_path: Path, image: Phantom
) -> None:
    truth = rough_mask()
    path = write_seg(tmp_path / "seg", {"GTV": truth}, image.paths)
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=3)):
        step = np.zeros((4, 4))
        step[3, 3] = 1
        for new, old in enumerate(axes):
            step[old, new] = signs[new]
            step[old, 3] = 0 if signs[new] > 0 else image.shape[old] - 1
        turned = truth.transpose(axes)[:: signs[0], :: signs[1], :: signs[2]]
        grid = Grid((turned.shape[0], turned.shape[1], turned.shape[2]), image.affine_lps @ step)
        np.testing.assert_array_equal(read_segments(path, grid).regions[0].mask, turned)


@settings(max_examples=15, deadline=None)
@given(mask=arrays(np.bool_, (7, 6, 5)).filter(lambda mask: bool(mask.any())))
def test_any_mask_comes_back(
    tmp_path_factory: pytest.TempPathFactory, image: Phantom, mask: NDArray[np.bool_]
) -> None:
    path = write_seg(tmp_path_factory.getbasetemp() / "any.dcm", {"GTV": mask}, image.paths)
    _require(read_segments(path, _grid(image)), {"GTV": mask})


def _moved(grid: Grid, scale: tuple[float, float, float], shift: tuple[float, float, float]) -> Grid:
    step = np.diag([*scale, 1.0])
    step[:3, 3] = shift
    return Grid((40, 40, 40), grid.affine @ step)


@pytest.mark.parametrize(
    ("scale", "shift"),
    [
        ((1, 1, 1), (0.5, 0, 0)),
        ((1, 1, 1), (0, 0, -0.5)),
        ((1, 1, 1), (0.02, 0, 0)),
        ((1, 1, 1), (2, 0, 0)),  # beside it: the mask would be cut
        ((0.5, 1, 1), (0, 0, 0)),
        ((2, 2, 1), (0, 0, 0)),
        ((1, 1, 2), (0, 0, 0)),
        ((1.01, 1, 1), (0, 0, 0)),
        ((1e6, 1e6, 1), (0, 0, 0)),  # all its pixels in one voxel
    ],
)
def test_a_segmentation_of_another_grid_is_refused(
    tmp_path: Path, image: Phantom, scale: tuple[float, float, float], shift: tuple[float, float, float]
) -> None:
    path = write_seg(tmp_path / "seg", {"GTV": rough_mask()}, image.paths)
    with pytest.raises(LabelError, match="don't lie on the voxels"):
        read_segments(path, _moved(_grid(image), scale, shift))


def test_a_segmentation_of_every_second_slice_is_refused_with_both_spacings(
    tmp_path: Path, image: Phantom
) -> None:
    path = write_seg(tmp_path / "seg", {"GTV": np.ones(image.shape, dtype=np.bool_)}, image.paths)

    def state_spacing(dataset: Dataset) -> None:
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.SpacingBetweenSlices = "2.7"

    _changed(path, state_spacing)
    finer = Grid((7, 6, 9), image.affine_lps @ np.diag([1, 1, 0.5, 1]))
    with pytest.raises(LabelError, match=r"2\.7 mm apart, those of its image 1\.35 mm"):
        read_segments(path, finer)
    assert read_segments(path, _grid(image)).regions[0].mask.all()


def test_empty_slices_between_full_ones_are_no_other_spacing(tmp_path: Path, image: Phantom) -> None:
    mask = np.zeros(image.shape, dtype=np.bool_)
    mask[2:4, 1:5, ::2] = True
    _require(
        read_segments(write_seg(tmp_path / "seg", {"GTV": mask}, image.paths), _grid(image)), {"GTV": mask}
    )


def _one_group_less(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[-1]


def _undescribed(dataset: Dataset) -> None:
    dataset.SegmentSequence[0].SegmentNumber = 9


def _same_number(dataset: Dataset) -> None:
    dataset.SegmentSequence[1].SegmentNumber = 1


def _unknown_type(dataset: Dataset) -> None:
    dataset.SegmentationType = "SURFACE"


def _short_pixels(dataset: Dataset) -> None:
    dataset.PixelData = dataset.PixelData[:-8]


def _no_position(dataset: Dataset) -> None:
    for group in dataset.PerFrameFunctionalGroupsSequence:
        del group.PlanePositionSequence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_one_group_less, "6 frames and describes 5"),
        (_undescribed, "segment 1 and doesn't describe it"),
        (_same_number, "one number to two segments"),
        (_unknown_type, "type SURFACE"),
        (_short_pixels, "can't be read"),
        (_no_position, "can't be read"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_segmentation_that_contradicts_itself_is_refused(
    tmp_path: Path, image: Phantom, change: Callable[[Dataset], None], message: str
) -> None:
    path = write_seg(tmp_path / "seg", {"GTV": rough_mask(), "CTV": rough_mask(seed=3)}, image.paths)
    with pytest.raises(LabelError, match=message):
        read_segments(_changed(path, change), _grid(image))


def test_a_cut_or_changed_file_is_refused_or_read_and_nothing_else(tmp_path: Path, image: Phantom) -> None:
    truth = {"GTV": rough_mask()}
    whole = write_seg(tmp_path / "seg", truth, image.paths).read_bytes()
    for length in [0, *range(100, len(whole), 97)]:
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(LabelError):
            read_segments(tmp_path / "cut", _grid(image))
    generator = np.random.default_rng(5)
    refused = 0
    for _ in range(120):
        changed = bytearray(whole)
        for at in generator.integers(400, len(whole), 5):
            changed[at] = int(generator.integers(0, 256))
        (tmp_path / "changed").write_bytes(changed)
        try:
            read_segments(tmp_path / "changed", _grid(image))
        except InputError:
            refused += 1
    assert 0 < refused < 120


def test_an_image_is_no_segmentation(image: Phantom) -> None:
    with pytest.raises(LabelError, match="SEG can't be read"):
        read_segments(image.paths[0], _grid(image))


TWINS = {
    "23x38x3/seg/label.seg": ["23x38x3/nrrd/label.nrrd"],
    "24x38x3/seg/label.seg": ["24x38x3/nrrd/label.nrrd"],
    "liver.dcm": ["liver_seg.nrrd"],
    "partial_overlaps.dcm": [f"partial_overlaps-{n}.nrrd" for n in (1, 2, 3)],
    "sparse-labelmap-noppv.dcm": ["sparse_labelmap_noppv_seg.nrrd"],
    "sparse-labelmap-ppv5.dcm": ["sparse_labelmap_ppv5_seg.nrrd"],
}
"""SEG files of dcmqi and what dcmqi made of them; the numbers in them are those of the segments."""


@pytest.mark.data
@pytest.mark.parametrize("name", TWINS)
def test_the_segmentations_of_dcmqi_give_the_masks_of_their_twins(data_folder: Path, name: str) -> None:
    folder = data_folder / "series" / "dcmqi" / "segmentations"
    index = scan([folder])
    (annotation,) = [one for one in index.annotations if one.path == folder / name]
    (series,) = [one for one in index.series if one.uid in annotation.referenced_series_uids]
    drawn = read_segments(annotation.path, series.grid)
    twins = [sitk.GetArrayFromImage(sitk.ReadImage(str(folder / twin))).T for twin in TWINS[name]]
    assert drawn.regions
    for region in drawn.regions:
        expected = np.logical_or.reduce([twin == int(region.names[1]) for twin in twins])
        if region.names == ("Background", "0"):  # dcmqi's NRRD can't tell its zeros from padding elsewhere
            expected &= (twins[0] != 5).any(axis=(0, 1))
        assert expected.any()
        np.testing.assert_array_equal(region.mask, expected)
