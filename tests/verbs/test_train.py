"""Whole runs on a tiny export: what a training opens, keeps, repeats and never does."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from lepton_monai.core.errors import ConfigError, DeviceError, InputError, OutputFolderError
from lepton_monai.core.progress import Silent
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.evaluation.lesions import count
from lepton_monai.verbs.evaluate import evaluate
from lepton_monai.verbs.predict import predict
from lepton_monai.verbs.train import AnyReport, train
from tests.verbs.exports import write_config, write_export, write_patient

NAMES = Pseudonyms(b"s" * 32)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("export")
    write_export(root)
    return root


@pytest.fixture(scope="module")
def trained(export: Path, tmp_path_factory: pytest.TempPathFactory) -> AnyReport:
    folder = tmp_path_factory.mktemp("run")
    return train(write_config(folder, export), folder / "run", pseudonyms=NAMES, device="cpu")


def _weights(run: Path) -> bytes:
    (path,) = run.glob("checkpoints/*/weights.safetensors")
    return path.read_bytes()


def test_a_run_holds_what_is_needed_to_use_and_repeat_it(trained: AnyReport) -> None:
    folder = trained.run.folder
    names = {path.name for path in folder.iterdir()}
    assert names >= {"config.yaml", "plan.yaml", "split.json", "environment.json", "log.csv", "checkpoints"}
    assert stat.S_IMODE((folder / "key.json").stat().st_mode) == 0o600
    assert trained.plan.training.steps == 30
    assert trained.validation is not None
    assert set(trained.plan.reasons) >= {"training.steps", "preparation.spacing_mm"}


def test_the_same_plan_twice_gives_byte_equal_weights_log_and_masks(
    export: Path, trained: AnyReport, tmp_path: Path
) -> None:
    first = trained.run.folder
    again = train(
        write_config(tmp_path, export),
        tmp_path / "again",
        pseudonyms=NAMES,
        plan_file=first / "plan.yaml",
        device="cpu",
    ).run.folder
    assert _weights(first) == _weights(again)
    for name in ("plan.yaml", "split.json", "log.csv", "key.json"):
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
    outs = [
        predict(run, export, tmp_path / f"out-{run.name}", pseudonyms=NAMES, device="cpu").out
        for run in (first, again)
    ]
    masks = sorted(path.relative_to(outs[0]) for path in outs[0].rglob("mask.*"))
    assert len(masks) == 16
    for path in masks:
        assert (outs[0] / path).read_bytes() == (outs[1] / path).read_bytes(), path


def test_training_never_opens_a_test_case(export: Path, trained: AnyReport, tmp_path: Path) -> None:
    """Pixels and contours of the test patients are rubbish here, and nothing changes."""
    split = json.loads((trained.run.folder / "split.json").read_text(encoding="utf-8"))
    key = json.loads((trained.run.folder / "key.json").read_text(encoding="utf-8"))
    ruined = tmp_path / "ruined"
    shutil.copytree(export, ruined)
    for entry in split["test"]:
        folder = ruined / key[entry["case"]]["patient_id"]
        for path in (folder / "ct").iterdir():
            content = bytearray(path.read_bytes())
            content[-400:] = os.urandom(400)
            path.write_bytes(content)
        (folder / "rs.dcm").write_bytes((folder / "rs.dcm").read_bytes()[:-2000])
    run = train(
        write_config(tmp_path, ruined),
        tmp_path / "run",
        pseudonyms=NAMES,
        plan_file=trained.run.folder / "plan.yaml",
        device="cpu",
    ).run.folder
    assert _weights(run) == _weights(trained.run.folder)


class Told(Silent):
    """Keeps what it is told."""

    said = ""

    def say(self, line: str) -> None:
        self.said += line


def test_minutes_that_are_not_used_or_are_too_few_are_told(export: Path, tmp_path: Path) -> None:
    told = Told()
    changes = {"network: {name": "train: {minutes: 1}\nnetwork: {name", "steps: 30": "steps: 1"}
    config = write_config(tmp_path, export, **changes)
    train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu", progress=told)
    assert "train.minutes isn't used" in told.said
    told, changes = Told(), {"network: {name": "train: {minutes: 0.001}\nnetwork: {name", "steps: 30, ": ""}
    config = write_config(tmp_path, export, **changes)
    done = train(config, tmp_path / "short", pseudonyms=NAMES, device="cpu", progress=told)
    assert done.plan.training.steps == 50
    assert "fewer are no training" in done.plan.reasons["training.steps"]
    assert "50 steps are the least" in told.said


def test_evaluation_is_of_the_test_patients_on_their_own_grid(trained: AnyReport) -> None:
    done = evaluate(trained.run.folder, pseudonyms=NAMES, device="cpu")
    split = json.loads((trained.run.folder / "split.json").read_text(encoding="utf-8"))
    assert {row.name for row in done.cases} == {entry["case"] for entry in split["test"]}
    assert done.dice["ball"].n == 2
    assert (done.folder / "metrics.json").is_file()
    assert (done.folder / "cases.csv").read_text(encoding="utf-8").count("\n") == 3


def test_its_report_shows_every_figure_and_the_worst_cases(trained: AnyReport) -> None:
    done = evaluate(trained.run.folder, pseudonyms=NAMES, device="cpu")
    report = (done.folder / "report.html").read_text(encoding="utf-8")
    for row in done.cases:
        cells = [row.name, row.patient, "ball", f"{row.dice:.3f}", f"{row.figures.nsd:.3f}"]
        assert "".join(f"<td>{cell}</td>" for cell in cells) in report
        lesions = count(row.figures.lesions)
        assert "".join(f"<td>{one}</td>" for one in (lesions.hit, lesions.missed, lesions.false)) in report
    assert done.summary["ball"]["dice"].text() in report
    assert done.baselines.ellipsoid is not None
    assert f"A centred ellipsoid of half the extent has {done.baselines.ellipsoid.text()}." in report
    assert "30 steps, 4 training cases." in report
    assert report.count("data:image/png;base64,") == len(done.cases) == len(done.pictures)
    worst = min(done.cases, key=lambda row: row.dice)
    assert report.index(f"<td>{worst.name}</td>") == min(
        report.index(f"<td>{row.name}</td>") for row in done.cases
    )


def test_an_image_that_was_trained_on_is_kept_out_of_the_test(
    export: Path, trained: AnyReport, tmp_path: Path
) -> None:
    """A re-export under a second patient id, with new UIDs, is noticed by its voxels."""
    leaked = tmp_path / "leaked"
    shutil.copytree(export, leaked)
    split = json.loads((trained.run.folder / "split.json").read_text(encoding="utf-8"))
    key = json.loads((trained.run.folder / "key.json").read_text(encoding="utf-8"))
    first = int(key[split["train"][0]["case"]]["patient_id"].split("-")[1])
    victim = key[split["test"][0]["case"]]["patient_id"]
    shutil.rmtree(leaked / victim)
    original = write_export(tmp_path / "scratch", 8)
    who = next(one for one in original if one.patient_id == victim)
    write_patient(leaked, first, who)
    done = evaluate(trained.run.folder, pseudonyms=NAMES, device="cpu", changes=[f"data.root={leaked}"])
    assert [finding.code for _, finding in done.findings] == ["training_data_in_test"]
    assert len(done.cases) == 1


def test_an_image_that_is_trained_on_is_no_validation_under_another_id(tmp_path: Path) -> None:
    root = tmp_path / "export"
    write_export(root, 5)
    for number in range(5, 9):
        who = write_patient(tmp_path / "scratch", number)
        write_patient(root, 0, who)  # the same voxels under five ids
    config = write_config(
        tmp_path, root, **{"test: 0.25": "test: 0.0", "validation: 0.3": "validation: 0.5"}
    )
    done = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    codes = [finding.code for _, finding in done.findings]
    assert codes
    assert set(codes) == {"same_image_twice"}
    judged = () if done.validation is None else done.validation.cases
    assert done.trained_on + len(judged) + len(codes) == 9


def test_a_label_that_is_absent_or_empty_is_named_and_left_out(tmp_path: Path) -> None:
    root = tmp_path / "export"
    write_export(root, 6)
    write_patient(root, 6, label=False)
    write_patient(root, 7, roi="Other")
    config = write_config(tmp_path, root, **{"test: 0.25": "test: 0.0"})
    done = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert sorted(finding.code for _, finding in done.findings) == ["label_absent", "label_absent"]
    assert done.validation is not None
    assert done.trained_on + len(done.validation.cases) == 6
    negative = write_config(
        tmp_path, root, **{"test: 0.25": "test: 0.0", '"Ball*"}': '"Ball*"}\n    empty: negative'}
    )
    done = train(negative, tmp_path / "negative", pseudonyms=NAMES, device="cpu")
    assert done.validation is not None
    assert done.trained_on + len(done.validation.cases) == 8


def test_a_run_is_never_written_over(export: Path, trained: AnyReport, tmp_path: Path) -> None:
    with pytest.raises(OutputFolderError, match="is a run already"):
        train(write_config(tmp_path, export), trained.run.folder, pseudonyms=NAMES, device="cpu")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputFolderError, match="was not made by `lepton train`"):
        train(write_config(tmp_path, export), tmp_path / "mine", pseudonyms=NAMES, device="cpu")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(("device", "error"), [("gpux", ConfigError), ("cuda:99", DeviceError)])
def test_a_device_that_cannot_be_had_leaves_nothing_behind(
    export: Path, tmp_path: Path, device: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        train(write_config(tmp_path, export), tmp_path / "run", pseudonyms=NAMES, device=device)
    assert not (tmp_path / "run").exists()


def test_another_salt_at_evaluation_says_so(trained: AnyReport) -> None:
    with pytest.raises(InputError, match="another salt"):
        evaluate(trained.run.folder, pseudonyms=Pseudonyms(b"t" * 32), device="cpu")


def test_damaged_weights_are_refused(trained: AnyReport, export: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained.run.folder, run)
    (path,) = run.glob("checkpoints/*/weights.safetensors")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="are damaged"):
        predict(run, export, tmp_path / "out", pseudonyms=NAMES, device="cpu")
