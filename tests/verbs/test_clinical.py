"""Whole runs with clinical values: who decides their scale, what is kept, compared and told."""

import csv
import json
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lepton_monai.cli.main import run as command
from lepton_monai.core.errors import ConfigError, InputError, StoppedError
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.inference.decision import Decision, write_decisions
from lepton_monai.plans.run import Run
from lepton_monai.training.training import Training
from lepton_monai.verbs.check_classifier import check_classifier
from lepton_monai.verbs.compare_classifiers import compare_classifiers
from lepton_monai.verbs.evaluate_classifier import evaluate_classifier
from lepton_monai.verbs.predict_classifier import predict_classifier
from lepton_monai.verbs.train import AnyReport, train
from tests.verbs.class_exports import LABELS, write_labelled, write_task
from tests.verbs.clinical_exports import Rows, clinical_task, write_patients, write_rows

NAMES = Pseudonyms(b"s" * 32)
OPTIONS: dict[str, Any] = {"pseudonyms": NAMES, "device": "cpu"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("patients")
    write_patients(folder)
    return folder


@pytest.fixture(scope="module")
def trained(root: Path, tmp_path_factory: pytest.TempPathFactory) -> AnyReport:
    folder = tmp_path_factory.mktemp("run")
    return train(clinical_task(folder, root), folder / "run", **OPTIONS)


def _rows(root: Path) -> Rows:
    with (root / "tables" / "clinical.csv").open(encoding="utf-8") as file:
        return {row["patient_id"]: (row["age"], row["sex"]) for row in csv.DictReader(file)}


def _ids(run: Path, side: str) -> list[str]:
    split = json.loads((run / "split.json").read_text(encoding="utf-8"))
    key = json.loads((run / "key.json").read_text(encoding="utf-8"))
    return [key[entry["case"]]["patient_id"] for entry in split[side]]


def _weights(run: Path) -> bytes:
    (path,) = run.glob("checkpoints/*/weights.safetensors")
    return path.read_bytes()


def test_the_scale_is_that_of_the_training_patients(root: Path, trained: AnyReport) -> None:
    rows = _rows(root)
    ages = [float(rows[name][0]) for name in _ids(trained.run.folder, "train") if name in rows]
    clinical = trained.plan.clinical
    assert clinical is not None
    assert clinical.numbers[0].mean == pytest.approx(np.mean(ages), rel=1e-5)
    assert clinical.numbers[0].deviation == pytest.approx(np.std(ages), rel=1e-5)
    assert clinical.categories[0].levels == ("f", "m")
    assert "clinical.numbers.age" in trained.plan.reasons


def test_validation_and_test_patients_decide_neither_plan_nor_weights(
    root: Path, trained: AnyReport, tmp_path: Path
) -> None:
    rows = _rows(root)
    others = {name for side in ("validation", "test") for name in _ids(trained.run.folder, side)}
    changed = {name: ("999", "other") if name in others else cells for name, cells in rows.items()}
    write_rows(tmp_path / "clinical.csv", changed)
    config = clinical_task(tmp_path, root, f"data.clinical.table={tmp_path / 'clinical.csv'}")
    done = train(config, tmp_path / "run", **OPTIONS)
    assert done.plan.clinical == trained.plan.clinical
    assert _weights(tmp_path / "run") == _weights(trained.run.folder)
    told = {finding.code for _, finding in done.findings}
    assert {"clinical_level_unknown", "clinical_far"} <= told


def test_a_stopped_training_with_values_resumes_to_the_same_bytes(
    root: Path, trained: AnyReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "clinical.csv"
    rows = _rows(root)
    write_rows(table, rows)
    config = clinical_task(tmp_path, root, f"data.clinical.table={table}")
    advance = Training.advance

    def until_the_eleventh(self: Training, inputs: Any, label: torch.Tensor) -> float:
        if self.step == 10:
            signal.raise_signal(signal.SIGTERM)
        return advance(self, inputs, label)

    monkeypatch.setattr(Training, "advance", until_the_eleventh)
    plan = trained.run.folder / "plan.yaml"
    with pytest.raises(StoppedError, match="step 11 of 30"):
        train(config, tmp_path / "run", plan_file=plan, **OPTIONS)
    monkeypatch.undo()
    name = _ids(trained.run.folder, "train")[0]
    write_rows(table, rows | {name: ("41.5", "f")})
    with pytest.raises(InputError, match="have changed since"):
        train(config, tmp_path / "run", resume=True, **OPTIONS)
    write_rows(table, rows)
    train(config, tmp_path / "run", resume=True, **OPTIONS)
    assert _weights(tmp_path / "run") == _weights(trained.run.folder)
    for name in ("log.csv", "calibration.json", "plan.yaml"):
        assert (tmp_path / "run" / name).read_bytes() == (trained.run.folder / name).read_bytes(), name


def test_figures_of_both_stand_beside_those_of_each_alone(trained: AnyReport) -> None:
    done = evaluate_classifier(trained.run.folder, **OPTIONS)
    assert set(done.parts) == {"image", "values"}
    content = json.loads((done.folder / "metrics.json").read_text(encoding="utf-8"))
    for name in ("image", "values"):
        part = content["alone"][name]
        assert set(part["figures"]) == set(part["gains"]) == {"auroc", "balanced_accuracy"}
        for figure, interval in part["figures"].items():
            gain = content["figures"][figure]["mean"] - interval["mean"]
            assert part["gains"][figure]["mean"] == pytest.approx(gain, nan_ok=True)


def test_a_model_predicts_with_a_table_with_half_of_one_and_without(
    root: Path, trained: AnyReport, tmp_path: Path
) -> None:
    shutil.copytree(trained.run.folder, tmp_path / "run")
    # A temperature of so few may saturate what is compared below.
    write_decisions(Run(tmp_path / "run"), ((Decision(),),) * 3)
    rows = _rows(root)
    half = dict(list(rows.items())[::2])
    name, (age, _) = next(iter(half.items()))
    write_rows(tmp_path / "half.csv", half | {name: (age, "")})
    found = {}
    for given in (root / "tables" / "clinical.csv", tmp_path / "half.csv", None):
        out = tmp_path / (given.stem if given else "none")
        found[out.name] = predict_classifier(
            tmp_path / "run", root / "images", out, clinical=given, **OPTIONS
        )
    codes = {key: [finding.code for _, finding in done.findings] for key, done in found.items()}
    assert codes["clinical"] == ["clinical_absent"]
    assert codes["half"] == ["clinical_absent"] * (16 - len(half))
    assert codes["none"] == ["clinical_not_given"]
    of = {
        key: {record["case"]: record["probabilities"]["high"] for record in done.records}
        for key, done in found.items()
    }
    assert len(of["none"]) == 16
    same = sum(of["half"][case] == of["none"][case] for case in of["none"])
    assert same == 16 - len(half)
    assert sum(of["half"][case] == of["clinical"][case] for case in of["none"]) == len(half)


@pytest.fixture(scope="module")
def without(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("without")
    config = clinical_task(folder, root, "data.clinical=null", "plan.training.steps=2")
    return train(config, folder / "run", **OPTIONS).run.folder


def test_a_model_with_values_is_paired_with_one_without(trained: AnyReport, without: Path) -> None:
    done = compare_classifiers(trained.run.folder, without, side="all", **OPTIONS)
    sides = [done.first.figures.figures, done.second.figures.figures]
    assert done.samples == done.first.figures.rows == 8
    for name, interval in done.differences.items():
        assert interval.mean == pytest.approx(sides[0][name].mean - sides[1][name].mean)
        assert interval.n == 8


def test_a_table_for_a_model_without_values_is_refused(tmp_path: Path, root: Path, without: Path) -> None:
    with pytest.raises(ConfigError, match="without clinical values"):
        predict_classifier(
            without,
            root / "images",
            tmp_path / "out",
            clinical=root / "tables" / "clinical.csv",
            **OPTIONS,
        )


def test_several_labels_are_judged_beside_their_parts_by_the_mean_over_them(tmp_path: Path) -> None:
    write_labelled(tmp_path / "in")
    ages = [f"{number:03d}.png,{40 + number % 4 * 10}" for number in range(40)]
    (tmp_path / "ages.csv").write_text("\n".join(["file,age", *ages]), encoding="utf-8")
    clinical = f"data.clinical={{table: {tmp_path / 'ages.csv'}, by: file, numbers: [age]}}"
    config = write_task(tmp_path, tmp_path / "in", LABELS, clinical)
    train(config, tmp_path / "run", **OPTIONS)
    done = evaluate_classifier(tmp_path / "run", **OPTIONS)
    assert done.point.holds == "any"
    assert set(done.parts) == {"image", "values"}
    for part in done.parts.values():
        gain = done.figures.figures["auroc"].mean - part.figures["auroc"].mean
        assert part.gains["auroc"].mean == pytest.approx(gain, nan_ok=True)


def test_a_plan_for_other_values_is_refused(root: Path, trained: AnyReport, tmp_path: Path) -> None:
    config = clinical_task(tmp_path, root, "data.clinical.categories=[]")
    with pytest.raises(ConfigError, match="clinical values age, sex, not age"):
        train(config, tmp_path / "run", plan_file=trained.run.folder / "plan.yaml", **OPTIONS)


def test_check_names_the_patient_that_the_table_does_not_know(root: Path, tmp_path: Path) -> None:
    found = check_classifier(clinical_task(tmp_path, root), pseudonyms=NAMES)
    assert [finding.code for _, finding in found.findings] == ["clinical_absent"]


def test_no_id_is_printed_and_missing_values_are_told(
    root: Path,
    trained: AnyReport,
    without: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "salt").write_bytes(b"s" * 32)
    shared = ["--device", "cpu", "--salt", str(tmp_path / "salt")]
    run = str(trained.run.folder)
    assert command(["evaluate", run, str(without), *shared]) == 0
    table = str(root / "tables" / "clinical.csv")
    predict = ["predict", run, str(root / "images"), *shared]
    assert command([*predict, "--out", str(tmp_path / "a"), "--clinical", table]) == 0
    assert command([*predict, "--out", str(tmp_path / "b")]) == 0
    told = "".join(capfd.readouterr())
    assert "The image alone: AUROC" in told
    assert "The clinical values alone: AUROC" in told
    assert "both together less it" in told
    assert "AUROC, the first less the second" in told
    assert "no table was given (--clinical)" in told
    assert "PATIENT" not in told
