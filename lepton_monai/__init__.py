"""DICOM-native medical imaging on MONAI: raw DICOM in, masks that a radiologist can open out.

Every verb of the command line is a function of the same name:

>>> import lepton_monai
>>> config = lepton_monai.load_config("task.yaml")  # doctest: +SKIP
>>> lepton_monai.train(config, "runs/first")  # doctest: +SKIP
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lepton_monai.config.load import load_task as load_config
    from lepton_monai.verbs.convert import convert
    from lepton_monai.verbs.explain import explain
    from lepton_monai.verbs.index import index
    from lepton_monai.verbs.info import info
    from lepton_monai.verbs.tasks import check, evaluate, predict
    from lepton_monai.verbs.train import train

__version__ = "0.1.0"

__all__ = ["check", "convert", "evaluate", "explain", "index", "info", "load_config", "predict", "train"]

_TASKS = "lepton_monai.verbs.tasks"

_HOMES = {
    "load_config": ("lepton_monai.config.load", "load_task"),
    "convert": ("lepton_monai.verbs.convert", "convert"),
    "explain": ("lepton_monai.verbs.explain", "explain"),
    "index": ("lepton_monai.verbs.index", "index"),
    "info": ("lepton_monai.verbs.info", "info"),
    "train": ("lepton_monai.verbs.train", "train"),
    **{verb: (_TASKS, verb) for verb in ("check", "evaluate", "predict")},
}


def __getattr__(name: str) -> Any:
    """Import a verb when it is first asked for: `import lepton_monai` costs no torch."""
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
