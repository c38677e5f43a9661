"""Words of messages: the name that a misspelt one stands for."""

from collections.abc import Iterable
from difflib import get_close_matches

ALIKE = 0.6
"""How much of two names is the same where one may be the other misspelt: difflib's own measure."""


def nearest(name: str, known: Iterable[str], at_least: float = 0.0) -> str:
    """Return the known name that is most like a misspelt one, capitals ignored.

    Parameters
    ----------
    name
        As somebody wrote it.
    known
        Names that it may stand for.
    at_least
        How much of the two has to be the same, 0 to 1; empty is returned where less is.
    """
    folded: dict[str, str] = {}
    for one in known:
        folded.setdefault(one.casefold(), one)
    near = get_close_matches(name.casefold(), folded, n=1, cutoff=at_least)
    return folded[near[0]] if near else ""
