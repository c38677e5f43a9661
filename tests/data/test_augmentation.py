import numpy as np
import pytest
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation

from lepton_monai.data.augmentation import Placing, box_of, placed, read_box

SIZE = (13, 8, 10)


@pytest.mark.parametrize(("mode", "order"), [("bilinear", 1), ("nearest", 0)])
def test_a_turned_patch_holds_what_scipy_finds_there(mode: str, order: int) -> None:
    generator = np.random.default_rng(0)
    volume = generator.integers(0, 255, (40, 35, 30)).astype(np.uint8)
    matrix = Rotation.from_euler("xyz", [0.3, -0.4, 0.2]).as_matrix() @ np.diag([1.1, 0.9, 1.3])
    placing = Placing(np.array([20.0, 17.0, 15.0]), matrix)
    box = box_of(placing, SIZE)
    patch = placed(np.array(read_box(volume, box)), box, placing, SIZE, mode)[0].numpy()
    offset = placing.centre - matrix @ (np.array(SIZE) - 1) * 0.5
    expected = affine_transform(volume.astype(np.float64), matrix, offset, SIZE, order=order)
    np.testing.assert_allclose(patch, expected, atol=0.02)


def test_a_turned_patch_that_reaches_out_of_its_image_goes_on_with_the_border() -> None:
    volume = np.arange(1, 1 + 9 * 8 * 7, dtype=np.int16).reshape(9, 8, 7)
    turned = Rotation.from_euler("z", 0.5).as_matrix()
    placing = Placing(np.array([0.0, 7.0, 3.2]), turned, flips=(0, 2))
    box = box_of(placing, SIZE)
    patch = placed(np.array(read_box(volume, box)), box, placing, SIZE, "nearest")[0].numpy()[::-1, :, ::-1]
    offset = placing.centre - turned @ (np.array(SIZE) - 1) * 0.5
    expected = affine_transform(volume, turned, offset, SIZE, order=0, mode="nearest")
    assert np.array_equal(patch, expected)
