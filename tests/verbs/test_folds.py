"""Every patient is tested once, by a network that never saw them; all networks predict together."""

import json
from pathlib import Path

import pytest

from lepton_monai.core.errors import ConfigError
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.verbs.evaluate import evaluate
from lepton_monai.verbs.folds import FoldsReport, train_folds
from lepton_monai.verbs.predict import predict
from lepton_monai.verbs.train import train
from tests.verbs.exports import write_config, write_export

NAMES = Pseudonyms(b"s" * 32)
THREE = {"split: {test: 0.25, validation: 0.3}": "split: {folds: 3, validation: 0.0}"}


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    write_export(root, 6)
    return root


@pytest.fixture(scope="module")
def folds(export: Path, tmp_path_factory: pytest.TempPathFactory) -> FoldsReport:
    folder = tmp_path_factory.mktemp("folds")
    return train_folds(
        write_config(folder, export, **THREE), folder / "run", pseudonyms=NAMES, device="cpu"
    )


def sides(folder: Path) -> list[dict[str, list[str]]]:
    found = []
    for path in sorted(folder.glob("fold_*/split.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        found.append({side: [one["patient"] for one in content[side]] for side in ("train", "test")})
    return found


def test_every_patient_is_on_one_test_side_and_never_trained_on_there(folds: FoldsReport) -> None:
    found = sides(folds.folder)
    assert len(found) == len(folds.trained) == 3
    tested = [patient for one in found for patient in one["test"]]
    assert len(tested) == len(set(tested)) == 6
    for one in found:
        assert len(set(one["test"]) | set(one["train"])) == 6
        assert not set(one["test"]) & set(one["train"])


def test_the_figures_of_all_folds_are_out_of_fold(folds: FoldsReport) -> None:
    done = evaluate(folds.folder, pseudonyms=NAMES, device="cpu")
    assert done.dice["ball"].n == 6
    assert done.folder == folds.folder / "evaluation" / "test"
    assert (done.folder / "cases.csv").read_text(encoding="utf-8").count("\n") == 7
    alone = evaluate(folds.folder / "fold_1", pseudonyms=NAMES, device="cpu")
    dices = {row.name: row.dice for row in done.cases}
    assert len(alone.cases) == 2
    assert all(dices[row.name] == row.dice for row in alone.cases)


def test_all_folds_predict_together(folds: FoldsReport, export: Path, tmp_path: Path) -> None:
    done = predict(folds.folder, export, tmp_path / "together", pseudonyms=NAMES, device="cpu")
    assert len(done.records) == 6
    manifest = json.loads((done.out / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["networks"] == 3
    alone = predict(folds.folder / "fold_0", export, tmp_path / "alone", pseudonyms=NAMES, device="cpu")
    assert alone.records[0]["model_sha256"] != done.records[0]["model_sha256"]


def test_finished_folds_are_left_as_they_are(folds: FoldsReport, export: Path) -> None:
    paths = sorted(folds.folder.glob("fold_*/checkpoints/*/weights.safetensors"))
    before = [path.stat().st_mtime_ns for path in paths]
    config = write_config(folds.folder.parent, export, **THREE)
    again = train_folds(config, folds.folder, resume=True, pseudonyms=NAMES, device="cpu")
    assert (again.already_there, len(again.trained)) == (3, 0)
    assert [path.stat().st_mtime_ns for path in paths] == before


@pytest.mark.parametrize(
    ("content", "fold", "message"),
    [
        ('[["a"], ["b"]]', None, "holds folds: say which with --fold"),
        ('[["a"], ["b"]]', 2, "There is no fold 2: 2 are counted from 0"),
        ('{"train": ["a"], "test": ["b"]}', 0, "holds no folds"),
        ("[[1], [2]]", 0, "holds no folds"),
    ],
)
def test_a_split_file_and_its_fold_must_go_together(
    export: Path, tmp_path: Path, content: str, fold: int | None, message: str
) -> None:
    (tmp_path / "folds.json").write_text(content, encoding="utf-8")
    config = write_config(
        tmp_path, export, **{"split: {test: 0.25, validation: 0.3}": "split: {file: folds.json}"}
    )
    config = config if fold is None else config.of_fold(fold)
    with pytest.raises(ConfigError, match=message):
        train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")


def test_folds_of_a_file_are_its_test_sides(export: Path, tmp_path: Path) -> None:
    ids = sorted(path.name for path in export.iterdir())
    (tmp_path / "folds.json").write_text(json.dumps([ids[:2], ids[2:]]), encoding="utf-8")
    config = write_config(
        tmp_path,
        export,
        **{"split: {test: 0.25, validation: 0.3}": "split: {file: folds.json, validation: 0.0}"},
    )
    done = train(config.of_fold(0), tmp_path / "run", pseudonyms=NAMES, device="cpu")
    key = json.loads((done.run.folder / "key.json").read_text(encoding="utf-8"))
    split = json.loads((done.run.folder / "split.json").read_text(encoding="utf-8"))
    assert {key[one["case"]]["patient_id"] for one in split["test"]} == set(ids[:2])
