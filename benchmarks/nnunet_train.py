"""nnU-Net within a time: runs in its environment, see nnunet_peer.py.

`python nnunet_train.py JOB.json`: see `segmentation.py`. Fingerprint, plan and preprocessing by its own
functions; a short trial measures an epoch; then its own trainer (3d_fullres) with as many epochs as end in
the time, its final validation, and the prediction of the test patients by its own predictor.
"""

import json
import math
import os
import shutil
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from nnunetv2.experiment_planning.plan_and_preprocess_api import (
    extract_fingerprints,
    plan_experiments,
    preprocess,
)
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

DATASET, CONFIGURATION = "Dataset001_Benchmark", "3d_fullres"
CPU = torch.device("cpu")

TRIAL = (2, 1, 6)
"""Steps of the epochs of the trial; the first warms up, the other two tell step and epoch apart."""

MOST_EPOCHS = 40
"""Its schedule moves once an epoch."""

STEPS_A_VALIDATION = 5
"""Training steps for one of its validation within an epoch: 250 and 50."""

FORWARD_SHARE = 1 / 3
"""A validation step, of a training step."""

RESERVE = 0.02
"""Of the time, for a machine that gets slower."""


def main() -> None:
    """Prepare, train, predict, and print what it took as JSON."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    write_raw(job)
    began = time.time()
    plans = prepared(job)
    preparation = time.time() - began
    os.environ.update(nnUNet_results=f"{job['folder']}/trial")
    trial = measured_trial()
    os.environ.update(nnUNet_results=f"{job['folder']}/results")
    schedule = schedule_within(60 * job["minutes"] * (1 - RESERVE) - preparation, trial)
    began = time.time()
    trainer = new_trainer(schedule["epochs"], schedule["steps_an_epoch"])
    trainer.run_training()
    trained = time.time()
    trainer.perform_actual_validation()
    validated = time.time()
    predict(job, Path(trainer.output_folder_base))
    configuration = plans["configurations"][CONFIGURATION]
    told = {
        "steps": schedule["epochs"] * schedule["steps_an_epoch"],
        "seconds": {
            "preparation": preparation,
            "training": trained - began,
            "final validation": validated - trained,
            "total": preparation + validated - began,
            "prediction": time.time() - validated,
        },
        "trial, not counted": trial,
        "schedule": schedule,
        "plan": {key: configuration[key] for key in ("patch_size", "batch_size", "spacing")},
    }
    print(json.dumps(told))  # noqa: T201 - this is a program


def write_raw(job: dict[str, Any]) -> None:
    """Lay the training patients out as nnU-Net wants them; it sees no others."""
    folder = Path(nnUNet_raw) / DATASET
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True)
    for name in job["train"]:
        shutil.copy(Path(job["images"]) / f"{name}.nii.gz", folder / "imagesTr" / f"{name}_0000.nii.gz")
        shutil.copy(Path(job["labels"]) / f"{name}.nii.gz", folder / "labelsTr")
    labels = {"background": 0} | {name: at for at, name in enumerate(job["classes"], start=1)}
    content = {
        "channel_names": {"0": job["channel"]},
        "labels": labels,
        "numTraining": len(job["train"]),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")


def prepared(job: dict[str, Any]) -> dict[str, Any]:
    """Fingerprint, plan, preprocess; all patients are trained on, one of them is its final validation."""
    extract_fingerprints([1], num_processes=job["threads"])
    plan_experiments([1])
    preprocess([1], configurations=[CONFIGURATION], num_processes=[job["threads"]])
    folder = Path(nnUNet_preprocessed) / DATASET
    split = [{"train": job["train"], "val": job["train"][:1]}]
    (folder / "splits_final.json").write_text(json.dumps(split), encoding="utf-8")
    return _plans()


def _plans() -> dict[str, Any]:
    folder = Path(nnUNet_preprocessed) / DATASET
    plans: dict[str, Any] = json.loads((folder / "nnUNetPlans.json").read_text(encoding="utf-8"))
    return plans


def new_trainer(epochs: int, steps: int) -> nnUNetTrainer:
    """Return its trainer with a schedule of so many epochs and steps."""
    dataset = Path(nnUNet_preprocessed) / DATASET / "dataset.json"
    description = json.loads(dataset.read_text(encoding="utf-8"))
    plans = _plans() | {"continue_training": False}
    trainer = nnUNetTrainer(plans, CONFIGURATION, 0, description, device=CPU)
    trainer.num_epochs = epochs
    trainer.num_iterations_per_epoch = steps
    trainer.num_val_iterations_per_epoch = _validation_steps(steps)
    return trainer


def _validation_steps(steps: int) -> int:
    return max(1, steps // STEPS_A_VALIDATION)


def measured_trial() -> dict[str, float]:
    """Return seconds of a step, of an epoch beside its steps, of the start and of the final validation."""
    trainer = new_trainer(len(TRIAL), TRIAL[0])
    times: list[float] = [time.time()]
    ends = trainer.on_epoch_end

    def on_epoch_end() -> None:
        ends()
        times.append(time.time())
        trainer.num_iterations_per_epoch = TRIAL[min(len(times) - 1, len(TRIAL) - 1)]

    trainer.on_epoch_end = on_epoch_end
    trainer.run_training()
    trained = time.time()
    trainer.perform_actual_validation()
    first, short, long = (b - a for a, b in pairwise(times))
    step = max((long - short) / (TRIAL[2] - TRIAL[1]), 0.01 * long)
    rest = max(short - TRIAL[1] * step, 0.0)
    return {
        "step": step,
        "epoch beside its steps": rest,
        "start": max(first - TRIAL[0] * step - rest, 0.0),
        "final validation": time.time() - trained,
    }


def schedule_within(seconds: float, trial: dict[str, float]) -> dict[str, int]:
    """Return the epochs, at most `MOST_EPOCHS`, and their steps that end in the time."""
    left = seconds - trial["start"] - trial["final validation"]
    steps = 0
    while True:
        steps += 1
        # One validation step is in what an epoch takes beside its steps.
        forward = (_validation_steps(steps) - 1) * FORWARD_SHARE
        epochs = math.floor(left / (trial["step"] * (steps + forward) + trial["epoch beside its steps"]))
        if epochs <= MOST_EPOCHS:
            return {"epochs": max(epochs, 1), "steps_an_epoch": steps}


def predict(job: dict[str, Any], model: Path) -> None:
    """Predict the test patients, mirrored, as is its default."""
    predictor = nnUNetPredictor(device=CPU, allow_tqdm=False)
    predictor.initialize_from_trained_model_folder(str(model), (0,))
    predictor.predict_from_files(
        [[f"{job['images']}/{name}.nii.gz"] for name in job["test"]],
        [f"{job['out']}/{name}" for name in job["test"]],
        num_processes_preprocessing=job["threads"],
        num_processes_segmentation_export=job["threads"],
    )


if __name__ == "__main__":
    main()
