"""`lepton train --fold all`: a run for each fold, one after the other, in one folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lepton_monai.cases.split import count_folds
from lepton_monai.config.load import AnyConfig
from lepton_monai.core.errors import ConfigError
from lepton_monai.core.files import claim_folder
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.plans.run import FOLD, Run
from lepton_monai.training.checkpoint import is_finished
from lepton_monai.training.ranks import this_rank
from lepton_monai.verbs.train import AnyReport, train


@dataclass(frozen=True)
class FoldsReport:
    """What `lepton train --fold all` prints.

    Parameters
    ----------
    folder
        Of all folds.
    trained
        By this start.
    already_there
        Folds that an earlier start had finished.
    """

    folder: Path
    trained: tuple[AnyReport, ...]
    already_there: int


def train_folds(
    config: AnyConfig,
    folder: Path,
    *,
    resume: bool = False,
    progress: Progress = SILENT,
    **options: Any,
) -> FoldsReport:
    """Train every fold of a split.

    Parameters
    ----------
    config
        Of the task; `split.folds`, or a file of folds, says how many.
    folder
        To make: ``fold_0``, ``fold_1``, ... are runs. `evaluate` and `predict` take it as they take a run.
    resume
        Go on: finished folds are left as they are.
    progress
        Told which fold it is.
    options
        As `train` has them.

    Raises
    ------
    LeptonError
        With what is wrong and what to do.
    """
    if this_rank().count > 1:
        message = "Several ranks train one fold at a time: give --fold 0, --fold 1, ... instead of all."
        raise ConfigError(message)
    if not resume or folder.exists():
        claim_folder(folder, "train")
    count = count_folds(config.split.rule())
    trained: list[AnyReport] = []
    for fold in range(count):
        run = Run(folder / f"{FOLD}{fold}")
        if resume and is_finished(run):
            continue
        progress.say(f"fold {fold + 1} of {count}")
        goes_on = resume and run.plan_path.is_file()
        trained.append(
            train(config.of_fold(fold), run.folder, resume=goes_on, progress=progress, **options)
        )
    return FoldsReport(folder, tuple(trained), count - len(trained))
