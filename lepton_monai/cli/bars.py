"""Progress on stderr: bars on a terminal, a line now and then elsewhere."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

import click

if TYPE_CHECKING:
    from rich.progress import ProgressColumn, TaskID

Item = TypeVar("Item")

SECONDS_A_LINE = 60.0


class Lines:
    """For a log: a line a minute.

    Parameters
    ----------
    clock
        Seconds, such as `time.monotonic` gives them.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began: dict[str, tuple[float, int]] = {}
        self._said = -SECONDS_A_LINE

    def report(self, label: str, done: int, total: int, note: str) -> None:
        """Say every minute how far it is, and at the end."""
        now = self._clock()
        began, first = self._began.setdefault(label, (now, done))
        if done < total and now - self._said < SECONDS_A_LINE:
            return
        self._said = now
        pace = (done - first) / (now - began) if done > first else 0.0
        rate = f", {pace:.1f} a second, {(total - done) / pace / 60:.1f} min left" if pace else ""
        self.say(f"{label}: {done} of {total}, {note}{rate}")

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items; say every minute how far it is."""
        said = self._clock()
        for count, item in enumerate(items, start=1):
            yield item
            if self._clock() - said > SECONDS_A_LINE:
                said = self._clock()
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
            _rate_column(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._bars.start()

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items and move the bar."""
        task = self._bars.add_task(label, total=total, note="")
        yield from self._bars.track(items, total=total, task_id=task)
        self._bars.remove_task(task)

    def report(self, label: str, done: int, total: int, note: str) -> None:
        """Move the bar of that label, and write the note beside it."""
        if label not in self._tasks:
            self._tasks[label] = self._bars.add_task(label, total=total, completed=done, note=note)
        self._bars.update(self._tasks[label], completed=done, note=note)

    def say(self, line: str) -> None:
        """Write one line above the bars."""
        self._bars.console.print(line, markup=False, highlight=False)

    def close(self) -> None:
        """Take the bars away."""
        self._bars.stop()


def _rate_column() -> "ProgressColumn":
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class Rate(ProgressColumn):
        """Items a second, or seconds an item."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            if not speed:
                return Text("")
            return Text(f"{speed:.1f} a second" if speed >= 1 else f"{1 / speed:.1f} s each")

    return Rate()
