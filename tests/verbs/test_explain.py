"""`lepton explain` on tiny runs: what it writes, on which grid, and what it refuses."""

import json
import stat
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from lepton_monai.cli.main import run as command
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.dicom import read_series, scan
from lepton_monai.verbs.explain import explain
from lepton_monai.verbs.train import train
from tests.verbs.class_exports import PICTURES, SLICES, write_pictures, write_task
from tests.verbs.exports import write_export

NAMES = Pseudonyms(b"s" * 32)


@pytest.fixture(scope="module")
def picture_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder / "in")
    config = write_task(folder, folder / "in", PICTURES)
    run: Path = train(config, folder / "run", pseudonyms=NAMES, device="cpu").run.folder
    return run


@pytest.fixture
def some(tmp_path: Path) -> Path:
    """Two pictures, wider than high, and one that is rubbish."""
    values = np.random.default_rng(0).integers(0, 255, (24, 40), dtype=np.uint8)
    for name in ("CANARY-a.png", "CANARY-b.png"):
        (tmp_path / "some").mkdir(exist_ok=True)
        Image.fromarray(values[:, ::-1] if name.endswith("b.png") else values).save(
            tmp_path / "some" / name
        )
    return tmp_path / "some"


def test_a_picture_has_a_record_and_an_overlay_and_no_volume(
    picture_run: Path, some: Path, tmp_path: Path
) -> None:
    done = explain(picture_run, some, tmp_path / "out", pseudonyms=NAMES, device="cpu", class_name="disc")
    assert len(done.records) == 2
    for record in done.records:
        folder = tmp_path / "out" / record["case"]
        assert {path.name for path in folder.iterdir()} == {"explanation.json", "explanation.png"}
        kept = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
        assert (kept["class"], kept["method"], kept["layers"]) == ("disc", "gradcam", ["layer1"])
        assert kept["shape"] == [40, 24]
        assert "share_outside_image" not in kept  # the picture is made to fit: nothing lies outside
        assert kept["peak_voxel"] is None or np.all(np.array(kept["peak_voxel"]) < kept["shape"])
    assert stat.S_IMODE((tmp_path / "out" / "key.json").stat().st_mode) == 0o600
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["explained"], manifest["failed"]) == (2, [])


def test_slices_become_a_volume_on_the_grid_of_their_series(tmp_path: Path) -> None:
    write_export(tmp_path / "export", 4)
    config = write_task(tmp_path, tmp_path / "export", SLICES, "plan.training.steps=10")
    train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    series = scan([tmp_path / "export"]).series[0]
    done = explain(
        tmp_path / "run",
        tmp_path / "export",
        tmp_path / "out",
        pseudonyms=NAMES,
        series_uid=series.uid,
        device="cpu",
    )
    (record,) = done.records
    assert record["class"] == "ball"
    assert len(done.passed_over) == 3
    image = nibabel.Nifti1Image.from_filename(tmp_path / "out" / record["case"] / "explanation.nii.gz")
    grid = read_series(series).grid
    assert image.shape == grid.shape
    np.testing.assert_allclose(np.asarray(image.affine), grid.ras(), atol=1e-4)
    heat = np.asarray(image.dataobj)
    assert heat.dtype == np.float32
    assert heat.max() in {0.0, 1.0}
    assert 0 <= record["slice"] < grid.shape[2]
    assert record["peak_voxel"] is None or record["peak_voxel"][2] == record["slice"]


@pytest.fixture
def salt(tmp_path: Path) -> str:
    (tmp_path / "salt").write_bytes(b"s" * 32)
    return str(tmp_path / "salt")


def test_the_command_names_what_failed_and_no_patient(
    picture_run: Path, some: Path, tmp_path: Path, salt: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (some / "CANARY-hurt.png").write_bytes(b"rubbish")
    out = tmp_path / "out"
    asked = ["explain", str(picture_run), str(some), "--out", str(out), "--device", "cpu", "--salt", salt]
    assert command([*asked, "--method", "occlusion"]) == 4
    told = "".join(capfd.readouterr())
    assert "2 explained, 1 failed" in told
    assert "unreadable_picture" in told
    assert "with random weights" in told
    assert command([*asked, "--json", "--quiet"]) == 4
    document = json.loads(capfd.readouterr().out)
    assert len(document["explanations"]) == 2
    written = [path for path in out.rglob("*") if path.is_file() and path.name != "key.json"]
    assert [path.name for path in written if b"CANARY" in path.read_bytes()] == []
    assert "CANARY" not in told


def test_bad_input_is_one_plain_message(
    picture_run: Path, some: Path, tmp_path: Path, salt: str, capfd: pytest.CaptureFixture[str]
) -> None:
    segmentation, empty = tmp_path / "segmentation", tmp_path / "empty"
    for folder in (segmentation, empty):
        folder.mkdir()
    (segmentation / "plan.yaml").write_text("schema_version: 1\n", encoding="utf-8")
    cases: list[tuple[Path, Path, list[str], int, str]] = [
        (segmentation, some, [], 2, "is the run of a segmentation"),
        (empty, some, [], 3, "is no run"),
        (picture_run, empty, [], 3, "holds no picture"),
        (picture_run, some, ["--class", "dics"], 2, "knows no class `dics`; its classes are bar, disc"),
        (picture_run, some, ["--method", "guess"], 2, "is not one of"),
    ]
    for run, folder, more, code, said in cases:
        asked = ["explain", str(run), str(folder), "--out", str(tmp_path / "out"), "--salt", salt, *more]
        assert command(asked) == code
        told = "".join(capfd.readouterr())
        assert said in told
        assert "Traceback" not in told
    assert not (tmp_path / "out").exists()
