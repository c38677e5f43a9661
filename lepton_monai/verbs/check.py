"""`lepton check`: before an hour is spent, what would be trained on, and what is wrong with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from lepton_monai.cases.case import Case, LoadedCase, load_case
from lepton_monai.cases.collect import collect
from lepton_monai.cases.images import ImageChoice
from lepton_monai.cases.split import SIDES, Split, split_cases
from lepton_monai.config.schema import Config
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.core.volume import Volume
from lepton_monai.data.resampling import on_grid
from lepton_monai.exports.overlay import write_overlay


@dataclass(frozen=True)
class CaseRow:
    """A case with its label, by pseudonym.

    Parameters
    ----------
    volumes_ml
        Of each class; empty where the case is left out.
    """

    name: str
    patient: str
    side: str
    shape: tuple[int, int, int] | None
    spacing_mm: tuple[float, float, float] | None
    unit: str
    volumes_ml: tuple[float, ...]


@dataclass(frozen=True)
class CheckReport:
    """What `lepton check` prints.

    Parameters
    ----------
    classes
        Names.
    rows
        One a case.
    findings
        With the name of their case, the worst first.
    refused
        Series of the wanted kind that make no volume, and so no case.
    images
        Names of the images of every case, that with the label first.
    """

    classes: tuple[str, ...]
    rows: tuple[CaseRow, ...]
    findings: tuple[tuple[str, Finding], ...]
    refused: tuple[str, ...]
    images: tuple[str, ...]


def check(
    config: Config,
    *,
    pseudonyms: Pseudonyms | None = None,
    pictures: Path | None = None,
    progress: Progress = SILENT,
) -> CheckReport:
    """Read every case with its label and report counts, split, leaks and faults.

    Parameters
    ----------
    config
        Of the task.
    pseudonyms
        Name cases and patients; None: by the user's salt.
    pictures
        A folder for one picture an image, with its label; None: no pictures.
    progress
        Told of every case.
    """
    choice = config.data_choice()
    collection = collect(choice, pseudonyms or load_pseudonyms(), progress)
    split = split_cases(collection.cases, config.split.rule())
    findings = [*collection.findings, *(("split", finding) for finding in split.findings)]
    rows: list[CaseRow] = []
    seen: dict[str, Case] = {}
    for case in progress.track(collection.cases, "reading cases", len(collection.cases)):
        loaded = load_case(case, choice.label.labels, empty_is_negative=choice.label.empty_is_negative)
        side = _side_of(case.pseudonym, split)
        if isinstance(loaded, Finding):
            findings.append((case.pseudonym, loaded))
            rows.append(CaseRow(case.pseudonym, case.patient, side, None, None, "", ()))
            continue
        findings += [(case.pseudonym, finding) for finding in loaded.findings]
        twin = seen.setdefault(loaded.digest, case)
        if twin.person != case.person:
            message = f"The image equals that of {twin.pseudonym}, under another id."
            findings.append((case.pseudonym, Finding("same_image_twice", message)))
        rows.append(_row(loaded, side, len(choice.label.labels.classes)))
        if pictures is not None:
            _draw(loaded, choice.further, pictures)
    findings.sort(key=lambda pair: (pair[1].severity != "refused", pair[1].action == "used"))
    return CheckReport(
        classes=choice.label.labels.names,
        rows=tuple(rows),
        findings=tuple(findings),
        refused=collection.refused,
        images=tuple(one.name for one in choice.images),
    )


def _draw(loaded: LoadedCase, further: Sequence[ImageChoice], folder: Path) -> None:
    """Draw the label on its image, and on those that go with it: whether they lie on each other is seen."""
    name = loaded.case.pseudonym
    write_overlay(loaded.volume, loaded.mask, folder / f"{name}.png")
    grid = loaded.volume.grid
    for choice, volume in zip(further, loaded.further, strict=True):
        values = torch.from_numpy(np.ascontiguousarray(volume.array, dtype=np.float32))[None]
        darkest = float(volume.array.min())  # as the network sees it
        shown = Volume(on_grid(values, volume.grid, grid, darkest)[0].numpy(), grid, volume.unit)
        write_overlay(shown, loaded.mask, folder / f"{name}.{choice.name}.png")


def _side_of(name: str, split: Split) -> str:
    for side in SIDES:
        if any(case.pseudonym == name for case in split.side(side)):
            return side
    return "-"


def _row(loaded: LoadedCase, side: str, classes: int) -> CaseRow:
    grid, array = loaded.volume.grid, loaded.mask.array
    volumes = [
        float((array == class_id).sum()) * grid.voxel_volume_ml for class_id in range(1, classes + 1)
    ]
    return CaseRow(
        loaded.case.pseudonym,
        loaded.case.patient,
        side,
        grid.shape,
        grid.spacing_mm,
        loaded.volume.unit,
        tuple(volumes),
    )
