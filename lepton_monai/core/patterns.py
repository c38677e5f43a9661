"""Patterns that people write for names: ``*`` and ``?``, case ignored."""

from fnmatch import fnmatchcase


def matches(name: str, pattern: str) -> bool:
    """Tell whether a name fits a pattern.

    Brackets stand for themselves: fnmatch would read "GTV [boost]" as a choice of letters, and brackets
    are part of many names.
    """
    return fnmatchcase(name.casefold(), pattern.casefold().replace("[", "[[]"))
