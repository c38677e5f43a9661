"""Whole runs of what a classification may be made for: several labels, whole studies, NIfTI images."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lepton_monai.cases.case import image_digest, load_image
from lepton_monai.cases.classes import collect_classified
from lepton_monai.cli.class_tables import check_text, evaluate_text, predict_text, train_text
from lepton_monai.config.classification import ClassificationConfig
from lepton_monai.core.errors import InputError
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.inference.decision import Decision, read_decisions, write_decisions
from lepton_monai.plans.run import Run
from lepton_monai.verbs.check_classifier import check_classifier
from lepton_monai.verbs.classifier_report import MOST_WRONG
from lepton_monai.verbs.evaluate_classifier import evaluate_classifier
from lepton_monai.verbs.predict_classifier import predict_classifier
from lepton_monai.verbs.train import AnyReport, train
from tests.verbs.class_exports import (
    LABELS,
    NIFTI_SLICES,
    STUDIES,
    write_labelled,
    write_nifti_balls,
    write_studies,
    write_task,
)

NAMES = Pseudonyms(b"s" * 32)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("labelled")
    write_labelled(root)
    return root


@pytest.fixture(scope="module")
def trained(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> AnyReport:
    folder = tmp_path_factory.mktemp("run")
    config = write_task(folder, labelled, LABELS, "plan.training.steps=120")
    return train(config, folder / "run", pseudonyms=NAMES, device="cpu")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_each_label_has_its_own_temperature_and_threshold(trained: AnyReport) -> None:
    assert (trained.plan.classes, trained.plan.holds) == (("disc", "bar"), "any")
    content = json.loads((trained.run.folder / "calibration.json").read_text(encoding="utf-8"))
    assert content["schema_version"] == 2
    assert [one["temperature"] for one in content["decisions"]] == [
        one.temperature for one in read_decisions(trained.run)
    ]
    assert len(read_decisions(trained.run)) == 2
    assert trained.validation is not None
    assert read_decisions(trained.run)[0].n == trained.validation.labels["disc"].rows
    told = train_text(trained)
    assert "disc: the temperature is" in told
    assert "bar: the temperature is" in told


def test_a_temperature_that_could_not_be_found_is_told(trained: AnyReport, tmp_path: Path) -> None:
    run = Run(tmp_path)
    write_decisions(run, ((Decision(n=4, at_limit=True), Decision(20.0, n=4, at_limit=True)),))
    disc, bar = train_text(replace(trained, run=run)).split("disc: ")[1].split("\n")[:2]
    assert "its own confidence stays" in disc
    assert "the highest that is tried" in bar


def test_labels_that_hold_together_are_learnt_and_judged_each_by_itself(
    trained: AnyReport,
) -> None:
    done = evaluate_classifier(trained.run.folder, pseudonyms=NAMES, side="all", device="cpu")
    rows = _rows(done.folder / "cases.csv")
    assert any(row["class(disc)"] == row["class(bar)"] == "1" for row in rows)
    unknown = sum(row["class(bar)"] == "" for row in rows)
    assert unknown > 0
    assert (done.labels["bar"].rows, done.labels["disc"].rows) == (len(rows) - unknown, len(rows))
    content = json.loads((done.folder / "metrics.json").read_text(encoding="utf-8"))
    means = []
    for name in ("disc", "bar"):
        known = [row for row in rows if row[f"class({name})"]]
        truth = np.array([row[f"class({name})"] == "1" for row in known])
        scores = np.array([float(row[f"p({name})"]) for row in known])
        pairs = scores[truth][:, None] - scores[~truth][None]
        wanted = np.mean((pairs > 0) + 0.5 * (pairs == 0))
        found = content["labels"][name]["figures"]
        assert found["auroc"]["mean"] == pytest.approx(wanted, abs=1e-6)
        right = np.mean([row[f"class({name})"] == row[f"decision({name})"] for row in known])
        assert found["accuracy"]["mean"] == pytest.approx(right)
        means.append(wanted)
    assert content["figures"]["auroc"]["mean"] == pytest.approx(np.mean(means), abs=1e-6)
    report = (done.folder / "report.html").read_text(encoding="utf-8")
    assert f"{len(rows)} samples of" in report
    wrong = sum(
        row[f"class({name})"] not in {"", row[f"decision({name})"]}
        for row in rows
        for name in ("disc", "bar")
    )
    assert report.count("<td>disc: ") + report.count("<td>bar: ") == 2 * min(wrong, MOST_WRONG)
    assert np.mean(means) > 0.85
    assert "The mean over the labels" in evaluate_text(done)


def test_a_prediction_says_of_each_label_whether_it_holds(
    labelled: Path, trained: AnyReport, tmp_path: Path
) -> None:
    done = predict_classifier(
        trained.run.folder, labelled, tmp_path / "out", pseudonyms=NAMES, abstain_below=0.7, device="cpu"
    )
    assert len(done.records) == 40
    for record in done.records:
        for at, name in enumerate(("disc", "bar")):
            p, decision = record["probabilities"][name], record["decision"][name]
            said = p >= read_decisions(trained.run)[at].threshold
            assert decision == (said if (p if said else 1 - p) >= 0.7 else None)
    rows = _rows(tmp_path / "out" / "predictions.csv")
    cells = {True: "1", False: "0", None: ""}
    assert [row["decision(bar)"] for row in rows] == [
        cells[record["decision"]["bar"]] for record in done.records
    ]
    assert "without a decision" in predict_text(done)


def test_a_check_counts_what_is_unknown(labelled: Path, tmp_path: Path) -> None:
    found = check_classifier(write_task(tmp_path, labelled, LABELS), pseudonyms=NAMES)
    assert found.classes == ("disc", "bar")
    assert sum(found.samples.values()) == 40
    assert sum(counts[0] for counts in found.counts.values()) == 20
    assert sum(unknown[1] for unknown in found.unknown.values()) == 5
    assert sum(counts[1] for counts in found.counts.values()) == 15
    assert "unknown)" in check_text(found)


def test_a_label_that_every_training_case_has_cannot_be_learnt(labelled: Path, tmp_path: Path) -> None:
    table = (labelled / "labels.csv").read_text(encoding="utf-8")
    (tmp_path / "labels.csv").write_text(table.replace("no,", "yes,"), encoding="utf-8")
    config = write_task(tmp_path, labelled, LABELS, f"data.labels.table={tmp_path / 'labels.csv'}")
    with pytest.raises(InputError, match="Every training case is of the class bar"):
        train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")


def test_a_study_is_answered_once_by_the_mean_of_the_logits_of_its_series(tmp_path: Path) -> None:
    root = tmp_path / "studies"
    write_studies(root)
    config = write_task(tmp_path, root, STUDIES)
    done = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert done.plan.source.level == "study"
    assert done.validation is not None
    assert (done.trained_on, read_decisions(done.run)[0].n, done.validation.figures.rows) == (8, 2, 2)
    write_decisions(
        done.run, ((Decision(),),)
    )  # a temperature of so few may saturate what is compared below
    table = predict_classifier(tmp_path / "run", root, tmp_path / "out", pseudonyms=NAMES, device="cpu")
    assert len(table.records) == 8
    assert all(record["case"].startswith("ST-") and len(record["series"]) == 2 for record in table.records)
    key = json.loads((tmp_path / "out" / "key.json").read_text(encoding="utf-8"))
    assert {name for record in table.records for name in record["series"]} == set(key)
    _require_no_half_studies(done, config)
    # The same network, series by series, and the mean taken here.
    plan = tmp_path / "run" / "plan.yaml"
    plan.write_text(plan.read_text("utf-8").replace("level: study", "level: series"), encoding="utf-8")
    single = predict_classifier(tmp_path / "run", root, tmp_path / "one", pseudonyms=NAMES, device="cpu")
    ball = {record["case"]: record["probabilities"]["ball"] for record in single.records}
    for record in table.records:
        # The mean of the log odds is the log odds of the mean of the logits.
        odds = np.mean([np.log(ball[name] / (1 - ball[name])) for name in record["series"]])
        assert record["probabilities"]["ball"] == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-5)


def _require_no_half_studies(done: AnyReport, config: ClassificationConfig) -> None:
    """Of a study with one series that was trained on, under whatever name, no other series is judged."""
    split = json.loads(done.run.split_path.read_text(encoding="utf-8"))
    cases = {case.pseudonym: case for case in collect_classified(config.class_choice(), NAMES).cases}
    twin = cases[split["test"][0]["case"]]
    split["image_sha256"]["another name"] = image_digest(load_image(twin))
    done.run.split_path.write_text(json.dumps(split), encoding="utf-8")
    judged = evaluate_classifier(done.run.folder, pseudonyms=NAMES, device="cpu")
    left = {name for name, one in judged.findings if one.code == "training_data_in_test"}
    assert left == {name for name, case in cases.items() if case.study == twin.study}
    assert judged.figures.rows == 1


def test_slices_of_nifti_images_are_classified_by_their_masks(tmp_path: Path) -> None:
    root = tmp_path / "nifti"
    write_nifti_balls(root)
    config = write_task(tmp_path, root, NIFTI_SLICES)
    done = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert (done.plan.source.file_format, done.plan.classes) == ("nifti", ("no ball", "ball"))
    judged = evaluate_classifier(tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert (judged.unit, judged.figures.rows) == ("image", 18)
    # A ball of radius 2.5 about slice 4 covers the slices 2 to 6.
    truth = {one.slice_number for one in judged.answers if one.target is not None and one.target[1]}
    assert truth == {2, 3, 4, 5, 6}
    table = predict_classifier(
        tmp_path / "run", root / "images", tmp_path / "out", pseudonyms=NAMES, device="cpu"
    )
    assert len(table.records) == 8 * 9
