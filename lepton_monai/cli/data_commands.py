"""The commands on data and on this machine: index, convert, check, info.

Each imports its verb when it runs, so that ``lepton --help`` costs no torch.
"""

from pathlib import Path
from typing import Any

import click

from lepton_monai.cli.options import FOLDER, every_verb, of_folders, with_config
from lepton_monai.cli.session import Session


@click.command(short_help="What lies in folders, and what can't be used and why.")
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@of_folders
@every_verb
def index(
    folders: tuple[Path, ...],
    exclude: tuple[str, ...],
    follow_links: bool,
    database: Path | None,
    **common: Any,
) -> None:
    """Say what lies in FOLDERS, what it can be used for, and what can't be used and why."""
    from lepton_monai.cli import tables
    from lepton_monai.verbs.index import index as verb

    with Session(**common) as told:
        found = verb(
            folders,
            pseudonyms=told.pseudonyms,
            exclude=exclude,
            follow_links=follow_links,
            database=database,
            progress=told.progress,
        )
        told.show(tables.index_document(found), tables.index_text(found))


@click.command(short_help="Every volume as NIfTI with a JSON beside it.")
@click.argument("folders", nargs=-1, required=True, type=FOLDER)
@click.option("--out", required=True, type=FOLDER, help="The folder to make.")
@click.option("--regularise", is_flag=True, help="Resample tilt and varying spacing to right angles.")
@click.option("--fill-gaps", is_flag=True, help="Leave missing slices empty, marked as invalid.")
@click.option("--by-instance-number", is_flag=True, help="Let InstanceNumber tell volumes apart.")
@click.option("--join-time", is_flag=True, help="Volumes of one series as one file with a fourth axis.")
@click.option("--resume", is_flag=True, help="Go on in a folder that an earlier start has made.")
@of_folders
@every_verb
def convert(
    folders: tuple[Path, ...],
    out: Path,
    regularise: bool,
    fill_gaps: bool,
    by_instance_number: bool,
    join_time: bool,
    resume: bool,
    exclude: tuple[str, ...],
    follow_links: bool,
    database: Path | None,
    **common: Any,
) -> None:
    """Write every volume in FOLDERS as NIfTI, with a JSON beside it."""
    from lepton_monai.cli import tables
    from lepton_monai.verbs.convert import Repairs
    from lepton_monai.verbs.convert import convert as verb

    with Session(**common) as told:
        done = verb(
            folders,
            out,
            repairs=Repairs(regularise, fill_gaps, by_instance_number),
            join_time=join_time,
            resume=resume,
            pseudonyms=told.pseudonyms,
            exclude=exclude,
            follow_links=follow_links,
            database=database,
            progress=told.progress,
        )
        told.show(tables.convert_document(done), tables.convert_text(done))
        tables.require_all_converted(done)


@click.command(short_help="Cases, labels, split, leaks: before an hour is spent.")
@click.argument("config", type=FOLDER)
@click.option("--pictures", type=FOLDER, help="Write one picture an image, with its label.")
@with_config
@every_verb
def check(config: Path, pictures: Path | None, changes: tuple[str, ...], **common: Any) -> None:
    """Read every case of CONFIG before an hour is spent: labels, split, leaks."""
    from lepton_monai.cli import class_tables, tables
    from lepton_monai.config.load import load_task
    from lepton_monai.verbs.tasks import check as verb

    with Session(**common) as told:
        loaded = load_task(config, changes)
        found: Any = verb(
            loaded,
            pseudonyms=told.pseudonyms,
            pictures=pictures,
            progress=told.progress,
        )
        shown: Any = class_tables if loaded.task == "classification" else tables
        told.show(shown.check_document(found), shown.check_text(found, [loaded.data.root]))


@click.command(short_help="Versions, devices, what is kept here, what a run is made of.")
@click.argument("run", required=False, type=FOLDER)
@click.option(
    "--purge", is_flag=True, help="Remove index and prepared images of the user; while no training runs."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def info(run: Path | None, purge: bool, as_json: bool) -> None:
    """Say what is installed, what is kept on this machine, and what RUN is made of."""
    from lepton_monai.cli import info_tables
    from lepton_monai.verbs import info as verb

    with Session(as_json=as_json, quiet=True, salt=None) as told:
        freed = verb.purge() if purge else None
        found = verb.info(run)
        told.show(info_tables.info_document(found, freed), info_tables.info_text(found, freed))
