"""How a room says how far it is, without drawing anything itself."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Progress(Protocol):
    """Told by the rooms, drawn by the command line."""

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:
        """Yield the items and count them."""
        ...

    def report(self, label: str, done: int, total: int, note: str) -> None:
        """Tell how far a long work is, as often as one likes, with a few words on it."""
        ...

    def say(self, line: str) -> None:
        """Pass on one line for a person."""
        ...


class Silent:
    """The default of every Python call: nothing is shown."""

    def track(self, items: Iterable[Item], label: str, total: int) -> Iterator[Item]:  # noqa: ARG002
        """Yield the items."""
        yield from items

    def report(self, label: str, done: int, total: int, note: str) -> None:
        """Drop the words."""

    def say(self, line: str) -> None:
        """Drop the line."""


SILENT: Progress = Silent()
