"""What a terminal alone is told: names that stand in the data, free text that no log may hold."""

from collections.abc import Sequence
from typing import TextIO

MOST_NAMES = 10
LONGEST_NAME = 40


def on_terminal(names: Sequence[str], stream: TextIO) -> str:
    """Return names as a sentence, the first ten and shortened; empty where the stream is no terminal."""
    if not names or not stream.isatty():
        return ""
    told = ", ".join(f"`{visible(name[:LONGEST_NAME])}`" for name in names[:MOST_NAMES])
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f" There: {told}{more}."


def visible(text: str) -> str:
    """Make control characters and broken bytes visible, so that they never reach a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
