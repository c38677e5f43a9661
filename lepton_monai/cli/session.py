"""What every command shares: pseudonyms, progress, and one way to show a result."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import click

from lepton_monai.cli.bars import Bars, Lines
from lepton_monai.core.progress import SILENT, Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms


class Session:
    """One command.

    Parameters
    ----------
    as_json
        One JSON document on stdout instead of text.
    quiet
        No progress.
    salt
        File of the secret; None: the user's.
    """

    def __init__(self, *, as_json: bool, quiet: bool, salt: Path | None) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._salt = salt
        self.progress: Progress = SILENT

    def __enter__(self) -> "Session":
        """Start to show progress on stderr."""
        if not self._quiet:
            self.progress = Bars() if sys.stderr.isatty() else Lines()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the bars."""
        if isinstance(self.progress, Bars):
            self.progress.close()

    @property
    def pseudonyms(self) -> Pseudonyms:
        """Pseudonyms by the salt that was asked for."""
        return load_pseudonyms(self._salt)

    def show(self, document: Mapping[str, Any], text: str) -> None:
        """Print a result on stdout, as text or as one JSON document."""
        if isinstance(self.progress, Bars):
            self.progress.close()
        if self._as_json:
            text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        click.echo(text)
