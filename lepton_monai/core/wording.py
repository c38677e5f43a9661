"""Words of messages: a count with its noun, and the name that a misspelt one stands for."""

from collections.abc import Iterable
from difflib import get_close_matches

ALIKE = 0.6
"""How much of two names is the same where one may be the other misspelt: difflib's own measure."""


def counted(count: int, noun: str) -> str:
    """Return a count with its noun, such as ``1 file``, ``2 classes`` or ``3 series``."""
    if count == 1 or noun.endswith("series"):
        return f"{count} {noun}"
    return f"{count} {noun}{'es' if noun.endswith(('s', 'ch')) else 's'}"


def nearest(name: str, known: Iterable[str], at_least: float = 0.0) -> str:
    """Return the first of `most_alike`; empty: none is alike."""
    return next(iter(most_alike(name, known, at_least)), "")


def most_alike(name: str, known: Iterable[str], at_least: float = 0.0) -> list[str]:
    """Return the known names that are like a misspelt one, the nearest first, capitals ignored.

    Parameters
    ----------
    name
        As somebody wrote it.
    known
        Names that it may stand for.
    at_least
        How much of the two has to be the same, 0 to 1.
    """
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(one.casefold(), one)
    near = get_close_matches(name.casefold(), folded, n=max(len(folded), 1), cutoff=at_least)
    return [folded[one] for one in near]
