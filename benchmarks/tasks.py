"""The two tasks of the segmentation benchmark: who is trained on, who is tested, and their NIfTI files."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from cells import CONFIGS

from lepton_monai.cases.case import load_case
from lepton_monai.cases.collect import collect
from lepton_monai.config.load import load_config
from lepton_monai.core.findings import Finding
from lepton_monai.core.pseudonyms import load_pseudonyms
from lepton_monai.exports.nifti import write_image, write_mask


@dataclass(frozen=True)
class Task:
    """Where a task's data lie below the data folder.

    Parameters
    ----------
    config
        Of lepton.
    root
        What the config calls `data.root`.
    split
        A JSON list of test sides, or an object with `train` and `test`.
    folds
        How many test sides it has.
    image
        Of a patient, below the root: a file, or a folder of DICOM files.
    channel
        What nnU-Net calls the image.
    """

    config: str
    root: str
    split: str
    folds: int
    image: str
    channel: str
    classes: tuple[str, ...]


TASKS = {
    "sts": Task("sts_pet.yaml", "sts/dicom", "sts/folds2.json", 2, "{name}/PET/image", "PET", ("tumour",)),
    "hippocampus": Task(
        "hippocampus.yaml",
        "hippocampus",
        "hippocampus/split.json",
        1,
        "images/{name}.nii.gz",
        "MR",
        ("anterior", "posterior"),
    ),
}


@dataclass(frozen=True)
class Sides:
    """Names of the patients that are trained on, and of those that are tested."""

    train: tuple[str, ...]
    test: tuple[str, ...]


def sides(task: Task, data: Path, fold: int, most: int | None = None) -> Sides:
    """Return both sides of a fold; of each the first `most`, to try the benchmark out."""
    content = json.loads((data / task.split).read_text(encoding="utf-8"))
    if isinstance(content, list):
        rest = [name for number, names in enumerate(content) if number != fold for name in names]
        content = {"train": rest, "test": content[fold]}
    return Sides(tuple(content["train"][:most]), tuple(content["test"][:most]))


def require_data(data: Path) -> None:
    """Exit where the data aren't there."""
    absent = [str(data / task.split) for task in TASKS.values() if not (data / task.split).is_file()]
    if absent:
        message = (
            f"The data aren't there: {', '.join(absent)} can't be found. Say where they are: --data FOLDER."
        )
        raise SystemExit(message)


def write_sources(task: Task, data: Path, folder: Path) -> None:
    """Write image and truth of every patient as NIfTI on the image's own grid, once.

    The peers read no DICOM; it isn't counted as their time.
    """
    if (folder / "complete").exists():
        return
    shutil.rmtree(folder, ignore_errors=True)  # a half one of an earlier, interrupted start
    config = load_config(CONFIGS / task.config, [f"data.root={data / task.root}"])
    choice = config.data_choice()
    for case in collect(choice, load_pseudonyms(folder / "salt")).cases:
        loaded = load_case(case, choice.label.labels, empty_is_negative=False)
        if isinstance(loaded, Finding):
            message = f"{case.patient_id} can't be used: {loaded.sentence()}"
            raise SystemExit(message)
        name = f"{case.patient_id}.nii.gz"
        write_image(loaded.volume.array, loaded.volume.grid, folder / "images" / name)
        write_mask(loaded.mask, folder / "labels" / name)
    (folder / "complete").touch()


def copy_images(task: Task, data: Path, names: tuple[str, ...], folder: Path) -> None:
    """Put the images of some patients as they are into a folder of their own."""
    for name in names:
        source = data / task.root / task.image.format(name=name)
        if source.is_dir():
            shutil.copytree(source, folder / name)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder)
