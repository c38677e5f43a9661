"""The folder of a run: made, or taken up again for the same config."""

from pathlib import Path

from pydantic import BaseModel

from lepton_monai.config.load import AnyConfig, load_task
from lepton_monai.core.errors import ConfigError, InputError, OutputFolderError
from lepton_monai.core.files import claim_folder
from lepton_monai.plans.run import Run
from lepton_monai.training.checkpoint import newest_checkpoint


def new_run(folder: Path) -> Run:
    """Make the folder of a run.

    Raises
    ------
    OutputFolderError
        It is one already, or isn't ours.
    """
    run = Run(folder)
    if run.plan_path.exists() and run.checkpoints_folder.exists():
        message = f"{folder} is a run already; name a folder that doesn't exist yet, or give --resume."
        raise OutputFolderError(message)
    claim_folder(folder, "train")
    return run


def resumed_run(folder: Path, config: AnyConfig) -> Run:
    """Open the run to go on with.

    Raises
    ------
    InputError
        It holds no checkpoint, or is finished.
    ConfigError
        Another config was given than the one that the run was made by.
    """
    run = Run(folder)
    if not run.plan_path.is_file():
        message = f"{folder} holds no training to resume: it has no plan.yaml. Leave out --resume."
        raise InputError(message)
    claim_folder(folder, "train")
    newest_checkpoint(run)
    before = load_task(run.config_path)
    differing = [
        name
        for name in type(config).model_fields
        if _deciding(getattr(before, name, None)) != _deciding(getattr(config, name))
    ]
    if differing:
        message = (
            f"The run {folder} was made by another config: `{'`, `'.join(differing)}` differ. Give the "
            f"same ({run.config_path}), or name a new run."
        )
        raise ConfigError(message)
    return run


def _deciding(section: object) -> object:
    """Return what of a section decides what is trained: the data may move, and get other codes."""
    if not isinstance(section, BaseModel):
        return section
    return section.model_dump(exclude={"root": True, "labels": {"codes"}})
