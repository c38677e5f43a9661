"""The files of a folder tree, folder by folder, without a path object for each."""

import os
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path

from lepton_monai.core.errors import InputError
from lepton_monai.core.findings import Finding
from lepton_monai.core.patterns import matches


class Tree:
    """Walks folders in an order that depends on names alone, and notes what it can't enter.

    Parameters
    ----------
    roots
        Folders or files.
    exclude
        Patterns of names, or of paths below a root, that are passed over.
    follow_links
        Follow symbolic links; a circle is noticed.

    Raises
    ------
    InputError
        A root doesn't exist.
    """

    def __init__(self, roots: Sequence[str | Path], exclude: Sequence[str], *, follow_links: bool) -> None:
        self.roots = tuple(Path(root) for root in roots)
        for root in self.roots:
            if not root.exists():
                message = f"{root} doesn't exist."
                raise InputError(message)
        self.findings: list[Finding] = []
        self._exclude = tuple(exclude)
        self._follow_links = follow_links

    def count(self) -> int:
        """Return about how many files there are, for a bar: faster than a look at each."""
        return sum(len(entries) for _, entries in self.folders())

    def folders(self) -> Iterator[tuple[str, list["os.DirEntry[str]"]]]:
        """Yield every folder with its files, each folder once."""
        self.findings = []
        entered: set[tuple[int, int]] = set()
        waiting = [(str(root), len(str(root)) + 1) for root in reversed(self.roots)]
        while waiting:
            folder, below = waiting.pop()
            if os.path.isfile(folder):  # noqa: PTH113 - no path object for each folder
                parent, name = os.path.split(folder)
                yield parent, [entry for entry in os.scandir(parent or ".") if entry.name == name]
                continue
            files: list[os.DirEntry[str]] = []
            folders: list[tuple[str, int]] = []
            for entry in self._entries(folder, entered):
                if self._exclude and self._is_excluded(entry, below):
                    continue
                kind = self._kind(entry)
                if kind == "folder":
                    folders.append((entry.path, below))
                elif kind == "file":
                    files.append(entry)
            waiting += reversed(folders)
            yield folder, files

    def _entries(self, folder: str, entered: set[tuple[int, int]]) -> list["os.DirEntry[str]"]:
        """List a folder in order; nothing where it was listed before or can't be read."""
        try:
            state = os.stat(folder)  # noqa: PTH116 - no path object for each folder
            if (state.st_dev, state.st_ino) in entered:
                return []
            entered.add((state.st_dev, state.st_ino))
            with os.scandir(folder) as entries:
                return sorted(entries, key=attrgetter("name"))
        except OSError as error:
            message = f"The folder can't be read: {error.strerror}."
            self.findings.append(Finding("unreadable_folder", message, path=Path(folder)))
            return []

    def _is_excluded(self, entry: "os.DirEntry[str]", below: int) -> bool:
        names = (entry.name, entry.path[below:])
        return any(matches(name, pattern) for name in names for pattern in self._exclude)

    def _kind(self, entry: "os.DirEntry[str]") -> str:
        try:
            if entry.is_file(follow_symlinks=False):
                return "file"
            if entry.is_symlink() and not self._follow_links:
                message = "A symbolic link is not followed."
                self.findings.append(Finding("symbolic_link", message, path=Path(entry.path)))
                return ""
            if entry.is_dir():
                return "folder"
            return "file" if entry.is_file() else ""
        except OSError as error:  # a link to itself, a device that is gone
            message = f"The entry can't be read: {error.strerror}."
            self.findings.append(Finding("unreadable_file", message, path=Path(entry.path)))
            return ""
