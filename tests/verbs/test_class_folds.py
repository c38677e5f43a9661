"""Folds of a classifier, summed up: every sample by the threshold of the network that judged it."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest

from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.inference.decision import read_heads, write_decisions
from lepton_monai.plans.run import Run
from lepton_monai.verbs.evaluate_classifier import evaluate_classifier
from lepton_monai.verbs.folds import train_folds
from tests.verbs.class_exports import PICTURES, write_pictures, write_task

NAMES = Pseudonyms(b"s" * 32)


def test_each_fold_keeps_its_own_threshold_where_all_are_summed_up(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in")
    text = PICTURES.replace("{{test: 0.25, validation: 0.25}}", "{{folds: 2, validation: 0.0}}")
    config = write_task(tmp_path, tmp_path / "in", text, "plan.training.steps=2")
    folder = train_folds(config, tmp_path / "run", pseudonyms=NAMES, device="cpu").folder
    # One fold takes everybody for class 1, the other nobody: no common threshold could do both.
    for fold, threshold in enumerate((0.0, 1.1)):
        run = Run(folder / f"fold_{fold}")
        ((one,),) = read_heads(run)
        write_decisions(run, ((replace(one, threshold=threshold),),))
    done = evaluate_classifier(folder, pseudonyms=NAMES, device="cpu")
    sides = []
    for fold in range(2):
        split = json.loads((folder / f"fold_{fold}" / "split.json").read_text(encoding="utf-8"))
        sides.append({entry["case"] for entry in split["test"]})
    with (done.folder / "cases.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {row["case"] for row in rows} == sides[0] | sides[1]
    assert {row["case"]: row["decision"] for row in rows} == {
        case: done.point.classes[1 - fold] for fold in range(2) for case in sides[fold]
    }
    right = sum(row["class"] == row["decision"] for row in rows)
    assert done.figures.figures["accuracy"].mean == pytest.approx(right / len(rows))
    assert done.figures.confusion.sum(axis=0).tolist() == [len(sides[1]), len(sides[0])]
    metrics = json.loads((done.folder / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["thresholds"] is None
