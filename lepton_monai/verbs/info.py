"""`lepton info`: what is installed here, what is kept on this machine, what a run is made of."""

import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from math import nan
from pathlib import Path
from typing import Any

import torch

from lepton_monai import __version__
from lepton_monai.core.errors import MachineError
from lepton_monai.core.files import cache_folder
from lepton_monai.core.pseudonyms import salt_path
from lepton_monai.core.wording import counted
from lepton_monai.evaluation.intervals import Interval
from lepton_monai.plans.classification import ClassificationPlan
from lepton_monai.plans.plan import Plan
from lepton_monai.plans.run import SEGMENTATION, Run, open_runs, read_split
from lepton_monai.training.devices import choose_device, machine_of

PACKAGES = ("torch", "monai", "numpy", "pydicom", "highdicom", "nibabel")
"""That a result depends on."""

CACHES = {
    "index": "paths and headers of DICOM files: names of patients may stand in them",
    "prepared": "images and labels of trainings, without names",
    "weights": "known pretrained weights",
}
"""Folders in the user's cache folder, and what they hold."""

PURGED = ("index", "prepared")
"""What is of patients, and is made again when it is needed."""

TOLD = ("dice", "auroc", "balanced_accuracy", "accuracy")
"""Figures of an evaluation that are told."""


@dataclass(frozen=True)
class Kept:
    """What lies in one place on this machine."""

    what: str
    path: Path
    files: int
    size_bytes: int


@dataclass(frozen=True)
class RunInfo:
    """What a run is made of.

    Parameters
    ----------
    folder, task
        Where it is, and what for.
    lines
        Its plan, cases, state and figures, a sentence each.
    """

    folder: Path
    task: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class InfoReport:
    """What `lepton info` prints.

    Parameters
    ----------
    versions
        By package.
    machine
        Processor, memory and devices, a line each.
    kept
        Caches, and the secret of the pseudonyms.
    runs
        Of the folder that was given: one, or one a fold.
    """

    versions: dict[str, str]
    machine: tuple[str, ...]
    kept: tuple[Kept, ...]
    runs: tuple[RunInfo, ...]


def info(run_folder: str | Path | None = None) -> InfoReport:
    """Say what is installed, what is kept on this machine, and what a run is made of.

    Parameters
    ----------
    run_folder
        Of a run, or of the runs of all folds; None: no run.

    Raises
    ------
    InputError
        The folder is no run.
    """
    runs = open_runs(Path(run_folder)) if run_folder is not None else ()
    return InfoReport(_versions(), tuple(_machine()), tuple(_kept()), tuple(_of_run(run) for run in runs))


def purge() -> int:
    """Remove what is kept of patients in the user's cache folder; it costs time only.

    A training that is at work reads from there: it must not run.

    Returns
    -------
    freed
        Bytes.

    Raises
    ------
    MachineError
        Something can't be removed.
    """
    folder, freed = cache_folder(), 0
    for path in [folder / name for name in PURGED] if folder is not None else []:
        freed += _measured(path.name, path).size_bytes
        try:
            shutil.rmtree(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            message = f"{path} can't be removed: {error.strerror}."
            raise MachineError(message) from error
    return freed


def _versions() -> dict[str, str]:
    found = {"lepton_monai": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _machine() -> Iterator[str]:
    cores, memory = counted(os.cpu_count() or 1, "core"), machine_of(choose_device("cpu")).memory_gb
    yield f"{platform.system()} on {platform.machine()}: {cores}, {memory:.0f} GB"
    for number in range(torch.cuda.device_count()):
        device = torch.device("cuda", number)
        yield f"cuda:{number}: {torch.cuda.get_device_name(device)}, {machine_of(device).memory_gb:.0f} GB"
    if torch.backends.mps.is_available():
        yield "mps"


def _kept() -> Iterator[Kept]:
    folder = cache_folder()
    if folder is not None:
        yield from (_measured(what, folder / name) for name, what in CACHES.items())
    with suppress(MachineError):  # a user without a home folder keeps none
        path = salt_path()
        if not path.exists():
            return
        yield Kept("the secret of the pseudonyms: keep it", path, 1, path.stat().st_size)


def _measured(what: str, path: Path) -> Kept:
    sizes = [one.stat().st_size for one in path.rglob("*") if one.is_file()]
    return Kept(what, path, len(sizes), sum(sizes))


def _of_run(run: Run) -> RunInfo:
    split = read_split(run)
    sides = ", ".join(f"{len(split[side])} {side}" for side in ("train", "validation", "test"))
    is_segmentation = run.task == SEGMENTATION
    lines = [*(_of_segmentation(run) if is_segmentation else _of_classification(run)), f"cases: {sides}"]
    found = run.checkpoints()
    if not found:
        lines.append("no whole checkpoint: it isn't trained")
    elif found[0].is_finished:
        lines.append(f"finished at step {found[0].step}")
    else:
        lines.append(f"at step {found[0].step}: it runs, or `lepton train --resume` goes on")
    return RunInfo(run.folder, run.task, (*lines, *_figures(run)))


def _of_segmentation(run: Run) -> Iterator[str]:
    plan = run.plan()
    yield f"classes: {', '.join(plan.classes)}"
    yield "images: " + ", ".join(
        f"{one.name} ({one.modality or one.file_format}, {one.unit})" for one in plan.images
    )
    spacing = " x ".join(f"{one:g}" for one in plan.preparation.spacing_mm)
    patch = " x ".join(str(one) for one in plan.training.patch_size)
    batch = counted(plan.training.batch_size, "patch")
    yield f"network: {_trained(plan)} of {batch} of {patch} voxels of {spacing} mm"


def _of_classification(run: Run) -> Iterator[str]:
    plan = run.classification_plan()
    yield f"classes: {', '.join(plan.classes)}"
    source = plan.source
    yield f"images: {source.name} ({source.modality or source.file_format}), a {source.level} each"
    yield f"network: {_trained(plan)} of {counted(plan.training.batch_size, 'image')}"


def _trained(plan: Plan | ClassificationPlan) -> str:
    steps = counted(plan.training.steps, "step")
    return f"{plan.network.name}, {steps} in {plan.training.precision}"


def _figures(run: Run) -> Iterator[str]:
    """Yield the figures of every side that was evaluated."""
    for path in sorted(run.evaluation_folder("").glob("*/metrics.json")):
        figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")).get("figures", {})
        named = {"": figures} if set(figures) & set(TOLD) else figures  # of a classifier, or class by class
        for name, of_class in named.items():
            for figure in [one for one in TOLD if one in of_class][:2]:
                kept: dict[str, Any] = {
                    key: nan if value is None else value for key, value in of_class[figure].items()
                }
                of = f" of {name}" if name else ""
                yield f"{path.parent.name}: {figure}{of} {Interval(**kept).text()}"
