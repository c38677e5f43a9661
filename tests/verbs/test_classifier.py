"""Whole runs of tiny classifiers: what a training opens, keeps, repeats and never does."""

import csv
import json
import shutil
import signal
import stat
from math import isnan
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from lepton_monai.cli.main import run as command
from lepton_monai.core.errors import ConfigError, InputError, OutputFolderError, StoppedError
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.inference.decision import read_decisions
from lepton_monai.training.training import Training
from lepton_monai.verbs.evaluate_classifier import evaluate_classifier
from lepton_monai.verbs.predict_classifier import predict_classifier
from lepton_monai.verbs.train import AnyReport, train
from tests.verbs.class_exports import (
    PICTURES,
    SERIES,
    SLICES,
    write_modalities,
    write_pictures,
    write_task,
)
from tests.verbs.exports import write_export

NAMES = Pseudonyms(b"s" * 32)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_pictures(root)
    return root


@pytest.fixture(scope="module")
def trained(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> AnyReport:
    folder = tmp_path_factory.mktemp("run")
    config = write_task(folder, pictures, PICTURES)
    return train(config, folder / "run", pseudonyms=NAMES, device="cpu")


def _weights(run: Path) -> bytes:
    (path,) = run.glob("checkpoints/*/weights.safetensors")
    return path.read_bytes()


def _sides(run: Path) -> dict[str, list[str]]:
    """Return the relative paths of the pictures on each side."""
    split = json.loads((run / "split.json").read_text(encoding="utf-8"))
    key = json.loads((run / "key.json").read_text(encoding="utf-8"))
    return {
        side: [key[entry["case"]]["patient_id"] for entry in split[side]]
        for side in ("train", "validation", "test")
    }


def test_a_run_holds_what_is_needed_to_use_and_repeat_it(trained: AnyReport) -> None:
    folder = trained.run.folder
    names = {path.name for path in folder.iterdir()}
    assert names >= {
        "config.yaml",
        "plan.yaml",
        "split.json",
        "environment.json",
        "log.csv",
        "calibration.json",
    }
    assert stat.S_IMODE((folder / "key.json").stat().st_mode) == 0o600
    assert trained.plan.classes == ("bar", "disc")
    assert trained.plan.training.steps == 30
    assert set(trained.plan.reasons) >= {"input.size", "training.steps", "training.class_weights"}
    assert trained.validation is not None
    assert read_decisions(trained.run)[0].n == trained.validation.figures.rows == 6


def test_the_same_plan_twice_gives_the_same_bytes(
    pictures: Path, trained: AnyReport, tmp_path: Path
) -> None:
    first = trained.run.folder
    again = train(
        write_task(tmp_path, pictures, PICTURES),
        tmp_path / "again",
        pseudonyms=NAMES,
        plan_file=first / "plan.yaml",
        device="cpu",
        workers=1,
    ).run.folder
    assert _weights(first) == _weights(again)
    for name in ("plan.yaml", "split.json", "log.csv", "key.json", "calibration.json"):
        assert (first / name).read_bytes() == (again / name).read_bytes(), name
    outs = [
        predict_classifier(run, pictures, tmp_path / f"out-{run.name}", pseudonyms=NAMES, device="cpu").out
        for run in (first, again)
    ]
    for name in ("predictions.csv", "predictions.json"):
        assert (outs[0] / name).read_bytes() == (outs[1] / name).read_bytes(), name


def test_training_never_opens_a_test_picture(pictures: Path, trained: AnyReport, tmp_path: Path) -> None:
    """The test pictures are rubbish here, and nothing changes."""
    ruined = tmp_path / "ruined"
    shutil.copytree(pictures, ruined)
    test = _sides(trained.run.folder)["test"]
    assert len(test) == 8
    for name in test:
        (ruined / name).write_bytes(b"rubbish")
    done = train(
        write_task(tmp_path, ruined, PICTURES),
        tmp_path / "run",
        pseudonyms=NAMES,
        plan_file=trained.run.folder / "plan.yaml",
        device="cpu",
    )
    assert _weights(done.run.folder) == _weights(trained.run.folder)
    assert done.findings == ()


def test_a_plan_for_other_classes_is_refused(pictures: Path, trained: AnyReport, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(pictures, other)
    (other / "bar").rename(other / "beam")
    with pytest.raises(ConfigError, match="classes bar, disc, not beam, disc"):
        train(
            write_task(tmp_path, other, PICTURES),
            tmp_path / "run",
            pseudonyms=NAMES,
            plan_file=trained.run.folder / "plan.yaml",
            device="cpu",
        )


def test_a_stopped_training_resumes_to_the_same_bytes(
    pictures: Path, trained: AnyReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_task(tmp_path, pictures, PICTURES)
    advance = Training.advance

    def until_the_eleventh(self: Training, image: torch.Tensor, label: torch.Tensor) -> float:
        if self.step == 10:
            signal.raise_signal(signal.SIGTERM)
        return advance(self, image, label)

    options = {"pseudonyms": NAMES, "device": "cpu"}
    plan = trained.run.folder / "plan.yaml"
    monkeypatch.setattr(Training, "advance", until_the_eleventh)
    with pytest.raises(StoppedError, match="step 11 of 30"):
        train(config, tmp_path / "run", plan_file=plan, **options)  # type: ignore[arg-type]
    monkeypatch.undo()
    train(config, tmp_path / "run", resume=True, **options)  # type: ignore[arg-type]
    for name in ("log.csv", "calibration.json"):
        assert (tmp_path / "run" / name).read_bytes() == (trained.run.folder / name).read_bytes()
    assert _weights(tmp_path / "run") == _weights(trained.run.folder)
    with pytest.raises(InputError, match="finished"):
        train(config, tmp_path / "run", resume=True, **options)  # type: ignore[arg-type]
    with pytest.raises(OutputFolderError, match="is a run already"):
        train(config, tmp_path / "run", **options)  # type: ignore[arg-type]


def test_a_training_that_ended_before_its_first_step_leaves_its_folder_to_the_next(
    pictures: Path, tmp_path: Path
) -> None:
    config = write_task(tmp_path, pictures, PICTURES, "plan.training.fine_tuning=probe")
    with pytest.raises(ConfigError, match="nothing came from other weights"):
        train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    config = write_task(tmp_path, pictures, PICTURES, "plan.training.steps=2")
    done = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert done.plan.training.steps == 2


def test_figures_are_of_the_test_images_and_say_that_nobody_is_known(
    trained: AnyReport,
) -> None:
    done = evaluate_classifier(trained.run.folder, pseudonyms=NAMES, device="cpu")
    assert done.unit == "image"
    assert done.figures.rows == done.figures.confusion.sum() == 8
    content = json.loads((done.folder / "metrics.json").read_text(encoding="utf-8"))
    assert content["intervals_by"] == "image"
    assert {"accuracy", "balanced_accuracy", "auroc", "auprc", "ece", "ece_uncalibrated"} <= set(
        content["figures"]
    )
    with (done.folder / "cases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    right = sum(row["class"] == row["decision"] for row in rows)
    assert content["figures"]["accuracy"]["mean"] == pytest.approx(right / 8)
    assert all(float(row["p(bar)"]) + float(row["p(disc)"]) == pytest.approx(1, abs=2e-6) for row in rows)


def test_its_report_shows_every_figure_and_every_mistake(trained: AnyReport) -> None:
    done = evaluate_classifier(trained.run.folder, pseudonyms=NAMES, device="cpu")
    report = (done.folder / "report.html").read_text(encoding="utf-8")
    for interval in done.figures.figures.values():
        assert isnan(interval.mean) or f"<td>{interval.text(3)}</td>" in report
    for truth, counts in zip(done.point.classes, done.figures.confusion, strict=True):
        assert "".join(f"<td>{cell}</td>" for cell in (truth, *counts)) in report
    with (done.folder / "cases.csv").open(encoding="utf-8") as file:
        wrong = [row for row in csv.DictReader(file) if row["class"] != row["decision"]]
    for row in wrong:
        sure = f"{float(row['p(' + row['decision'] + ')']):.3f}"
        cells = [row["case"], row["patient"], row["slice"], row["class"], row["decision"], sure]
        assert "".join(f"<td>{cell}</td>" for cell in cells) in report
    assert report.count("<tr>") == report.count("<tr><th>") + len(wrong) + 2 + len(done.figures.figures)
    assert "images of one person may stand on both sides" in report


def test_discs_and_bars_are_told_apart(pictures: Path, tmp_path: Path) -> None:
    config = write_task(tmp_path, pictures, PICTURES, "plan.training.steps=150")
    train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    done = evaluate_classifier(tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert done.figures.figures["auroc"].mean > 0.9


def test_damaged_pictures_are_named_and_the_rest_is_done(
    pictures: Path, trained: AnyReport, tmp_path: Path
) -> None:
    hurt = tmp_path / "hurt"
    shutil.copytree(pictures, hurt)
    sides = _sides(trained.run.folder)
    for side in ("train", "test"):
        path = hurt / sides[side][0]
        path.write_bytes(path.read_bytes()[:60])
    config = write_task(tmp_path, hurt, PICTURES)
    done = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert [finding.code for _, finding in done.findings] == ["unreadable_picture"]
    judged = evaluate_classifier(tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert [finding.code for _, finding in judged.findings] == ["unreadable_picture"]
    assert judged.figures.rows == 7
    table = predict_classifier(tmp_path / "run", hurt, tmp_path / "out", pseudonyms=NAMES, device="cpu")
    assert (len(table.records), len(table.failed)) == (30, 2)


def test_a_picture_that_was_trained_on_is_kept_out_of_the_test(
    pictures: Path, trained: AnyReport, tmp_path: Path
) -> None:
    leaked = tmp_path / "leaked"
    shutil.copytree(pictures, leaked)
    sides = _sides(trained.run.folder)
    shutil.copy(leaked / sides["train"][0], leaked / sides["test"][0])
    done = evaluate_classifier(
        trained.run.folder, pseudonyms=NAMES, device="cpu", changes=[f"data.root={leaked}"]
    )
    assert [finding.code for _, finding in done.findings] == ["training_data_in_test"]
    assert done.figures.rows == 7


def test_no_decision_is_made_below_the_confidence_that_is_asked_for(
    pictures: Path, trained: AnyReport, tmp_path: Path
) -> None:
    sure = predict_classifier(
        trained.run.folder, pictures, tmp_path / "sure", pseudonyms=NAMES, abstain_below=0.9, device="cpu"
    )
    for record in sure.records:
        best = max(record["probabilities"].values())
        assert best >= 0.9 or record["decision"] is None
    everything = predict_classifier(
        trained.run.folder, pictures, tmp_path / "all", pseudonyms=NAMES, device="cpu"
    )
    assert all(record["decision"] for record in everything.records)


@pytest.fixture(scope="module")
def modalities(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("modalities")
    write_modalities(root)
    return root


def test_series_are_classified_by_a_tag_and_split_by_patient(modalities: Path, tmp_path: Path) -> None:
    config = write_task(tmp_path, modalities, SERIES)
    done = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert done.plan.classes == ("CT", "MR")
    assert done.plan.input.scale.transform == "zscore"  # HU beside a unit of its own
    sides = _sides(tmp_path / "run")
    patients = {side: set(ids) for side, ids in sides.items()}
    assert sum(len(ids) for ids in patients.values()) == 8
    assert all(ids.count(one) == 2 for ids in sides.values() for one in ids)
    judged = evaluate_classifier(tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert (judged.unit, judged.figures.rows, judged.figures.keys) == ("patient", 4, 2)
    table = predict_classifier(
        tmp_path / "run", modalities, tmp_path / "out", pseudonyms=NAMES, device="cpu"
    )
    assert len(table.records) == 16


def test_slices_are_classified_by_what_their_segment_covers(tmp_path: Path) -> None:
    root = tmp_path / "export"
    write_export(root)
    config = write_task(tmp_path, root, SLICES)
    done = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert done.plan.classes == ("no ball", "ball")
    judged = evaluate_classifier(tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert (judged.unit, judged.figures.rows, judged.figures.keys) == ("patient", 28, 2)
    assert judged.position is not None
    assert judged.position.mean > 0.8  # the ball lies in the middle
    assert {answer.slice_number for answer in judged.answers} == set(range(14))


def test_no_name_of_a_file_or_a_patient_is_kept(
    pictures: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    root, kept = tmp_path / "in", tmp_path / "kept"
    for path in sorted(pictures.rglob("*.png")):
        target = root / path.parent.name / f"CANARY-{path.name}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    (root / "bar" / "CANARY-hurt.png").write_bytes(b"rubbish")
    (tmp_path / "salt").write_bytes(b"s" * 32)
    (tmp_path / "task.yaml").write_text(PICTURES.format(root=root), encoding="utf-8")
    told = ""
    for arguments in (
        ["check", str(tmp_path / "task.yaml"), "--json"],
        ["train", str(tmp_path / "task.yaml"), "--run", str(kept / "run"), "--device", "cpu", "--json"],
        ["evaluate", str(kept / "run"), "--device", "cpu"],
        ["predict", str(kept / "run"), str(root), "--out", str(kept / "out"), "--device", "cpu"],
    ):
        code = command([*arguments, "--salt", str(tmp_path / "salt")])
        assert code == (4 if arguments[0] == "predict" else 0)  # one picture is rubbish
        told += "".join(capfd.readouterr())
    written = [path for path in kept.rglob("*") if path.is_file() and path.name != "key.json"]
    assert len(written) > 12
    assert [path.name for path in written if b"CANARY" in path.read_bytes()] == []
    assert "CANARY" not in told
    assert "No patients are known" in told
    assert "CANARY" in (kept / "run" / "key.json").read_text(encoding="utf-8")


def test_a_run_starts_from_another_and_keeps_its_network(
    pictures: Path, trained: AnyReport, tmp_path: Path
) -> None:
    text = PICTURES.replace("network: {{name: resnet10, arguments: {{widen_factor: 0.125}}}}\n", "")
    config = write_task(tmp_path, pictures, text, f"network.weights={trained.run.folder}")
    done = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert done.plan.network.name == "resnet10"
    assert done.plan.training.pretrained_rate == 0.1
    report = (tmp_path / "run" / "weights.txt").read_text(encoding="utf-8")
    assert "0 adapted, 0 new, 0 not used" in report


def test_a_probe_with_patience_learns_the_last_layer_alone_and_logs_what_it_looked_at(
    pictures: Path, trained: AnyReport, tmp_path: Path
) -> None:
    recipe = ("fine_tuning=probe", "patience=2", "validate_every=4")
    changes = [f"network.weights={trained.run.folder}", *(f"plan.training.{one}" for one in recipe)]
    config = write_task(tmp_path, pictures, PICTURES, *changes)
    done = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu").run
    first, found = (load_file(run.weights_path()) for run in (trained.run, done))
    assert {name for name, one in first.items() if not torch.equal(one, found[name])} == {
        "fc.weight",
        "fc.bias",
    }
    with done.log_path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    looks = done.checkpoints()[0].record["looks"]
    assert [int(row["step"]) for row in rows if row["validation_loss"]] == [step for step, _ in looks]
    losses = [float(row["validation_loss"]) for row in rows]
    assert losses == pytest.approx([loss for _, loss in looks], abs=1e-6)


def test_a_model_of_one_colour_takes_a_picture_of_three(trained: AnyReport, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 255, (40, 36, 3), dtype=np.uint8)
    (tmp_path / "in").mkdir()
    Image.fromarray(values).save(tmp_path / "in" / "colour.png")
    done = predict_classifier(
        trained.run.folder, tmp_path / "in", tmp_path / "out", pseudonyms=NAMES, device="cpu"
    )
    assert len(done.records) == 1
