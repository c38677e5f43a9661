"""What is installed, what is kept, what a run is made of."""

import json
from pathlib import Path

import pytest

from lepton_monai.cli.info_tables import info_document, info_text
from lepton_monai.cli.main import run as command
from lepton_monai.core.errors import InputError
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.verbs.info import info, purge
from lepton_monai.verbs.train import train
from tests.verbs.class_exports import PICTURES, write_pictures, write_task
from tests.verbs.exports import write_config, write_export

NAMES = Pseudonyms(b"s" * 32)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_what_is_kept_of_patients_is_named_and_removed_and_the_salt_is_not(tmp_path: Path) -> None:
    write_export(tmp_path / "export", 6)
    train(write_config(tmp_path, tmp_path / "export"), tmp_path / "run", device="cpu")
    before = {one.path.name: one for one in info().kept}
    assert before["index"].files >= 1
    assert before["prepared"].files >= 4
    (tmp_path / "cache" / "lepton_monai" / "weights").mkdir()
    (tmp_path / "cache" / "lepton_monai" / "weights" / "known.pt").write_bytes(b"weights")
    assert purge() == before["index"].size_bytes + before["prepared"].size_bytes
    assert {one.path.name: one.files for one in info().kept} == {
        "index": 0,
        "prepared": 0,
        "weights": 1,
        "salt": 1,
    }
    assert purge() == 0


def test_a_run_of_a_segmentation_says_what_it_is_made_of(tmp_path: Path) -> None:
    write_export(tmp_path / "export", 6)
    done = train(
        write_config(tmp_path, tmp_path / "export"), tmp_path / "run", pseudonyms=NAMES, device="cpu"
    )
    found = info(tmp_path / "run")
    (one,) = found.runs
    spacing = " x ".join(f"{one:g}" for one in done.plan.preparation.spacing_mm)
    assert one.lines[:3] == (
        "classes: ball",
        "images: ct (CT, HU)",
        f"network: unet, 30 steps in float32 of 2 patches of 16 x 16 x 8 voxels of {spacing} mm",
    )
    split = json.loads((tmp_path / "run" / "split.json").read_text(encoding="utf-8"))
    sides = ", ".join(f"{len(split[side])} {side}" for side in ("train", "validation", "test"))
    assert one.lines[3] == f"cases: {sides}"
    assert "finished at step 30" in one.lines
    assert done.validation is not None
    assert f"validation: dice of ball {done.validation.dice['ball'].text()}" in one.lines
    assert one.lines[0] in info_text(found)
    assert json.loads(json.dumps(info_document(found)))["runs"][0]["lines"] == list(one.lines)


def test_a_run_of_a_classification_too(tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures", 8)
    train(
        write_task(tmp_path, tmp_path / "pictures", PICTURES),
        tmp_path / "run",
        pseudonyms=NAMES,
        device="cpu",
    )
    (one,) = info(tmp_path / "run").runs
    assert one.task == "classification"
    assert one.lines[0] == "classes: bar, disc"
    assert any(line.startswith("validation: auroc ") for line in one.lines)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run"):
        info(tmp_path)


def test_the_command_purges_on_request_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    index = tmp_path / "cache" / "lepton_monai" / "index"
    index.mkdir(parents=True)
    (index / "one.sqlite").write_bytes(b"x" * 2_000_000)
    assert command(["info"]) == 0
    assert "`lepton info --purge`" in capsys.readouterr().out
    assert index.exists()
    assert command(["info", "--purge", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["purged_bytes"] == 2_000_000
    assert not index.exists()
