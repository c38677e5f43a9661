"""Options that several verbs have."""

from collections.abc import Callable
from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)

Command = Callable[..., None]


def _together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


every_verb = _together(
    click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout."),
    click.option("--quiet", "-q", is_flag=True, help="No progress and no findings on stderr."),
    click.option("--salt", type=FOLDER, help="Secret of the pseudonyms [default: the user's]."),
)
of_folders = _together(
    click.option("--exclude", multiple=True, metavar="PATTERN", help="Names to pass over."),
    click.option("--follow-links", is_flag=True, help="Follow symbolic links."),
    click.option(
        "--index", "database", type=FOLDER, help="The index to use [default: in the user's cache folder]."
    ),
)
with_config = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a value of the config."
)
with_network = click.option(
    "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."
)
