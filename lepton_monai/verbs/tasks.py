"""The verbs that every task has: each goes to the story of the task at hand."""

from pathlib import Path
from typing import Any

from lepton_monai.config.classification import ClassificationConfig
from lepton_monai.config.load import AnyConfig
from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.plans.run import CLASSIFICATION, open_runs
from lepton_monai.verbs import check as segmentation_check
from lepton_monai.verbs import evaluate as segmentation_evaluate
from lepton_monai.verbs import predict as segmentation_predict
from lepton_monai.verbs.check import CheckReport
from lepton_monai.verbs.check_classifier import ClassCheckReport, check_classifier
from lepton_monai.verbs.compare_classifiers import ClassComparison, compare_classifiers
from lepton_monai.verbs.evaluate import Comparison, Evaluation
from lepton_monai.verbs.evaluate_classifier import ClassEvaluation, evaluate_classifier
from lepton_monai.verbs.predict import PredictReport
from lepton_monai.verbs.predict_classifier import ClassPredictReport, predict_classifier


def check(config: AnyConfig, **options: Any) -> CheckReport | ClassCheckReport:
    """Read every case before an hour is spent: see the `check` of the task for its options."""
    if isinstance(config, ClassificationConfig):
        return check_classifier(config, **_without(options, "pictures"))
    return segmentation_check.check(config, **options)


def evaluate(run_folder: str | Path, **options: Any) -> Evaluation | ClassEvaluation:
    """Compare predictions with what is known: see the `evaluate` of the task for its options."""
    folder = Path(run_folder)
    if open_runs(folder)[0].task == CLASSIFICATION:
        return evaluate_classifier(folder, **options)
    return segmentation_evaluate.evaluate(folder, **options)


def compare(first: Path, second: Path, **options: Any) -> Comparison | ClassComparison:
    """Evaluate two runs of one task on the same patients, and pair them: see the `compare` of the task.

    Raises
    ------
    InputError
        The runs are of different tasks.
    """
    tasks = [open_runs(folder)[0].task for folder in (first, second)]
    if tasks[0] != tasks[1]:
        message = f"{first} is of the task {tasks[0]}, {second} of {tasks[1]}: they can't be paired."
        raise InputError(message)
    if tasks[0] == CLASSIFICATION:
        return compare_classifiers(first, second, **options)
    return segmentation_evaluate.compare(first, second, **options)


def predict(
    model: str | Path, folder: str | Path, out: str | Path, **options: Any
) -> PredictReport | ClassPredictReport:
    """Apply a model to new studies: see the `predict` of the task for its options.

    Raises
    ------
    ConfigError
        An option is given that the task doesn't have.
    """
    paths = (Path(model), Path(folder), Path(out))
    if open_runs(paths[0])[0].task == CLASSIFICATION:
        return predict_classifier(*paths, **_without(options, "formats", "outside"))
    return segmentation_predict.predict(*paths, **_without(options, "abstain_below", "clinical"))


def _without(options: dict[str, Any], *names: str) -> dict[str, Any]:
    """Return the options without those that this task doesn't have; where one was given, say so."""
    for name in names:
        if options.get(name):
            message = f"--{name.replace('_', '-')} is of another task."
            raise ConfigError(message)
    return {key: value for key, value in options.items() if key not in names}
