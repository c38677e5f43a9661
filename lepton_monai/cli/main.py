"""``lepton VERB WHAT [options]``: all commands, and the border that no traceback crosses."""

import signal
import sys
import tempfile
import traceback
from collections.abc import Sequence
from types import FrameType

import click

from lepton_monai import __version__
from lepton_monai.cli.data_commands import check, convert, index, info
from lepton_monai.cli.run_commands import evaluate, explain, predict, train
from lepton_monai.cli.terminal import on_terminal
from lepton_monai.core.errors import LeptonError

COMMANDS = (index, check, train, evaluate, predict, explain, convert, info)
"""In the order in which one works."""


class _InOrder(click.Group):
    """Lists the commands in their order."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return [str(one.name) for one in COMMANDS]


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def lepton() -> None:
    """DICOM-native medical imaging: raw DICOM in, masks that a radiologist can open out.

    No medical device: for research, never for a decision about a patient.
    """


for _command in COMMANDS:
    lepton.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code."""
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; no error leaves as a traceback."""
    signal.signal(signal.SIGTERM, _terminated)
    try:
        lepton.main(arguments, prog_name="lepton", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except LeptonError as error:
        _say(f"{error}{on_terminal(error.names, sys.stderr)}")
        return error.exit_code
    except (KeyboardInterrupt, click.Abort, SystemExit) as error:
        _say(
            "Stopped. What was finished is kept; the same command goes on (train, convert: with --resume)."
        )
        return 143 if isinstance(error, SystemExit) else 130
    except (OSError, MemoryError) as error:
        _say(f"The machine can't: {getattr(error, 'strerror', None) or 'out of memory'}.")
        return 5
    except Exception as error:  # noqa: BLE001 - the last border: a defect of ours
        _say(f"A defect of ours ({type(error).__name__}); its trace is in {_keep_trace(error)}.")
        return 1
    return 0


def _terminated(_signal: int, _frame: FrameType | None) -> None:
    sys.exit(143)


def _say(message: str) -> None:
    click.echo(f"lepton: {message}", err=True)


def _keep_trace(error: Exception) -> str:
    """Write where a defect happened, without its message: that may hold what a file says."""
    lines = [*traceback.format_tb(error.__traceback__), type(error).__name__, "\n"]
    with tempfile.NamedTemporaryFile(
        "w", prefix="lepton-", suffix=".txt", delete=False, encoding="utf-8"
    ) as file:
        file.writelines(lines)
    return file.name
