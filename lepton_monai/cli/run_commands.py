"""The commands that make and use runs: train, evaluate, predict, explain.

Each imports its verb when it runs, so that ``lepton --help`` costs no torch.
"""

from pathlib import Path
from typing import Any

import click

from lepton_monai.cli.options import FOLDER, every_verb, with_config, with_network
from lepton_monai.cli.session import Session


@click.command(short_help="Train by a config; test cases are never opened.")
@click.argument("config", type=FOLDER)
@click.option("--run", type=FOLDER, help="The folder to make, or to go on with.")
@click.option("--plan", type=FOLDER, help="A plan made before: the same run again.")
@click.option("--resume", is_flag=True, help="Go on from the newest checkpoint of the run.")
@click.option("--from", "start", type=FOLDER, help="A run, a weight file or known weights to start from.")
@click.option("--weights-dir", type=FOLDER, help="Where files of known weights lie, beside the cache.")
@click.option("--fold", metavar="NUMBER|all", help="Train one fold of the split (from 0), or all of them.")
@click.option("--dry-run", is_flag=True, help="Print the plan with its reasons, and train nothing.")
@click.option("--seed", type=int, help="Of weights and chance: train.seed.")
@click.option(
    "--workers", type=click.IntRange(min=0), help="Processes that make patches [default: by the device]."
)
@click.option("--tensorboard", is_flag=True, help="Write the log for TensorBoard too; an extra.")
@click.option("--cache", type=FOLDER, help="Of prepared cases [default: in the user's cache folder].")
@click.option(
    "--cache-limit",
    type=click.FloatRange(min=0),
    default=100.0,
    show_default=True,
    help="GB that prepared cases may take.",
)
@with_network
@with_config
@every_verb
def train(
    config: Path,
    run: Path | None,
    plan: Path | None,
    resume: bool,
    start: Path | None,
    weights_dir: Path | None,
    fold: str | None,
    dry_run: bool,
    seed: int | None,
    workers: int | None,
    tensorboard: bool,
    cache: Path | None,
    cache_limit: float,
    device: str,
    changes: tuple[str, ...],
    **common: Any,
) -> None:
    """Train by CONFIG; test cases are never opened."""
    from lepton_monai.config.load import load_task

    if dry_run and (plan or resume or fold == "all"):
        message = "--dry-run makes a new plan of one training: leave out --plan, --resume and --fold all."
        raise click.UsageError(message)
    if run is None and not dry_run:
        message = "--run is missing: name the folder to make."
        raise click.UsageError(message)
    with Session(**common) as told:
        more = [f"train.seed={seed}"] if seed is not None else []
        more += [f"network.weights={start}"] if start is not None else []
        more += [f"network.weights_dir={weights_dir}"] if weights_dir is not None else []
        more += [f"split.fold={fold}"] if fold not in {None, "all"} else []
        loaded = load_task(config, (*changes, *more))
        # A mistake in the config is told before torch is imported.
        from lepton_monai.cli import class_tables, run_tables
        from lepton_monai.training.ranks import this_rank
        from lepton_monai.verbs.folds import train_folds
        from lepton_monai.verbs.preparing import Cache
        from lepton_monai.verbs.train import plan_only
        from lepton_monai.verbs.train import train as verb

        shown: Any = class_tables if loaded.task == "classification" else run_tables
        if dry_run or run is None:
            planned = plan_only(loaded, pseudonyms=told.pseudonyms, device=device, progress=told.progress)
            told.show(run_tables.plan_document(planned), run_tables.plan_text(planned))
            return
        options: dict[str, Any] = {
            "pseudonyms": told.pseudonyms,
            "plan_file": plan,
            "resume": resume,
            "device": device,
            "workers": workers,
            "cache": Cache(cache, cache_limit) if cache else Cache.of_user(cache_limit),
            "tensorboard": tensorboard,
            "progress": told.progress,
        }
        if fold == "all":
            folds = train_folds(loaded, run, **options)
            told.show(run_tables.folds_document(folds), run_tables.folds_text(folds, [loaded.data.root]))
            return
        done = verb(loaded, run, **options)
        if this_rank().is_first:
            told.show(shown.train_document(done), shown.train_text(done, [loaded.data.root]))


@click.command(short_help="Figures of one run, or of two in pairs.")
@click.argument("runs", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--split",
    "side",
    type=click.Choice(["test", "validation", "all"]),
    default="test",
    show_default=True,
)
@with_network
@with_config
@every_verb
def evaluate(
    runs: tuple[Path, ...], side: str, device: str, changes: tuple[str, ...], **common: Any
) -> None:
    """Compare the predictions of RUNS (one, or two that are paired) with the labels, with intervals."""
    from lepton_monai.cli import class_tables, run_tables
    from lepton_monai.verbs.evaluate import Comparison, Evaluation
    from lepton_monai.verbs.tasks import compare
    from lepton_monai.verbs.tasks import evaluate as verb

    if len(runs) > 2:
        message = "Give one run, or two to pair them."
        raise click.UsageError(message)
    with Session(**common) as told:
        options: dict[str, Any] = {
            "pseudonyms": told.pseudonyms,
            "side": side,
            "changes": changes,
            "device": device,
            "progress": told.progress,
        }
        if len(runs) == 2:
            both = compare(*runs, **options)
            shown: Any = run_tables if isinstance(both, Comparison) else class_tables
            told.show(shown.compare_document(both), shown.compare_text(both))
            return
        done = verb(runs[0], **options)
        shown = run_tables if isinstance(done, Evaluation) else class_tables
        told.show(shown.evaluate_document(done), shown.evaluate_text(done))


@click.command(short_help="Apply a run to new studies.")
@click.argument("model", type=FOLDER)
@click.argument("folder", type=FOLDER)
@click.option("--out", required=True, type=FOLDER, help="The folder to make, or to go on with.")
@click.option("--series", help="Only the series of this UID.")
@click.option(
    "--formats",
    metavar="NAME,...",
    help="Of the masks: nifti (the default); for a PACS seg, rtstruct, sr: these name the patient.",
)
@click.option(
    "--outside",
    type=click.Choice(["mark", "refuse"]),
    help="What becomes of images unlike the training's: masks that are marked (the default), or none.",
)
@click.option(
    "--abstain-below",
    type=click.FloatRange(0.0, 1.0),
    default=0.0,
    help="Of a classifier: no decision where its probability is less.",
)
@click.option(
    "--clinical", type=FOLDER, help="Of a classifier: the table of the new studies' clinical values."
)
@with_network
@every_verb
def predict(
    model: Path,
    folder: Path,
    out: Path,
    series: str | None,
    formats: str | None,
    outside: str | None,
    abstain_below: float,
    clinical: Path | None,
    device: str,
    **common: Any,
) -> None:
    """Segment or classify everything in FOLDER that fits MODEL (a run)."""
    from lepton_monai.cli import class_tables, tables
    from lepton_monai.verbs.predict import PredictReport
    from lepton_monai.verbs.tasks import predict as verb

    with Session(**common) as told:
        done = verb(
            model,
            folder,
            out,
            pseudonyms=told.pseudonyms,
            series_uid=series,
            abstain_below=abstain_below,
            clinical=clinical,
            device=device,
            progress=told.progress,
            **({} if formats is None else {"formats": [one.strip().lower() for one in formats.split(",")]}),
            **({} if outside is None else {"outside": outside}),
        )
        shown: Any = tables if isinstance(done, PredictReport) else class_tables
        told.show(shown.predict_document(done), shown.predict_text(done, [folder]))
        shown.require_all_done(done)


@click.command(short_help="Where a classifier looked.")
@click.argument("model", type=FOLDER)
@click.argument("folder", type=FOLDER)
@click.option("--out", required=True, type=FOLDER, help="The folder to make, or to write anew.")
@click.option("--method", type=click.Choice(["gradcam", "occlusion"]), default="gradcam", show_default=True)
@click.option("--class", "class_name", metavar="NAME", help="For which class [default: the decided one].")
@click.option("--series", "series_uid", help="Only the series of this UID.")
@with_network
@every_verb
def explain(
    model: Path, folder: Path, out: Path, as_json: bool, quiet: bool, salt: Path | None, **options: Any
) -> None:
    """Map where in everything in FOLDER that fits MODEL (the run of a classifier) the evidence lies."""
    from lepton_monai.cli import explain_tables
    from lepton_monai.verbs.explain import explain as verb

    with Session(as_json=as_json, quiet=quiet, salt=salt) as told:
        done = verb(model, folder, out, pseudonyms=told.pseudonyms, progress=told.progress, **options)
        told.show(explain_tables.explain_document(done), explain_tables.explain_text(done))
        explain_tables.require_all_explained(done)
