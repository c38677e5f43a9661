"""Progress on stderr: bars on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import click

Item = TypeVar("Item")

SECONDS_A_LINE = 60.0


class Lines:
    """For a log: a line a minute."""

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items; say every minute how far it is."""
        said = time.monotonic()
        for count, item in enumerate(items, start=1):
            yield item
            if time.monotonic() - said > SECONDS_A_LINE:
                said = time.monotonic()
                self.say(f"{label}: {count} of {total}")

    def say(self, line: str) -> None:
        """Write one line."""
        click.echo(line, err=True)


class Bars:
    """For a person: a bar with count, rate and time left."""

    def __init__(self) -> None:
        # rich is imported when something is drawn: it would slow every start.
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
        )

        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._bars.start()

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items and move the bar."""
        yield from self._bars.track(items, total=total, description=label)

    def say(self, line: str) -> None:
        """Write one line above the bars."""
        self._bars.console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        """Take the bars away."""
        self._bars.stop()
