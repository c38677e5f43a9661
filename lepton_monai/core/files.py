"""The one way to the disk: a reader sees the old file or the new one, never a half.

Everything is written under a temporary name, synced, renamed, and the folder synced.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from lepton_monai.core.errors import LockedError, MachineError, OutputFolderError

MARKER = ".lepton.json"
"""Says which verb made a folder; a folder without it is never written into."""

_TEMPORARY = re.compile(r"^\.lepton-(\d+)-[0-9a-f]{8}-")


@contextmanager
def replacing(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Give a temporary path to write to; on success it takes the place of `path`.

    Parameters
    ----------
    path
        The file to make or to replace; its folder is made.
    mode
        Permission bits, such as 0o600; None: by the user's umask.

    Raises
    ------
    MachineError
        The disk is full, the folder can't be written.
    """
    temporary = path.with_name(f".lepton-{os.getpid()}-{secrets.token_hex(4)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if mode is not None:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        message = f"{path} can't be written: {error.strerror or error}."
        raise MachineError(message) from error
    finally:
        with suppress(OSError):  # the folder may be the trouble: its error is on the way
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a whole file, or leave the old one."""
    with replacing(path, mode) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, content: str, mode: int | None = None) -> None:
    """Write a whole UTF-8 file, or leave the old one; a name that isn't UTF-8 is written escaped."""
    write_bytes(path, content.encode("utf-8", "backslashreplace"), mode)


def write_json(path: Path, content: Mapping[str, Any], mode: int | None = None) -> None:
    """Write a mapping as indented JSON; NaN is written as null, since JSON has none."""
    text = json.dumps(without_nan(content), indent=2, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n", mode)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cache_folder() -> Path | None:
    """Return where this user's programs keep what can be made again; None: there is no such place."""
    chosen = os.environ.get("XDG_CACHE_HOME")
    try:
        base = Path(chosen) if chosen else Path.home() / ".cache"
    except RuntimeError:  # no HOME and no entry for this user
        return None
    return base / "lepton_monai"


def require_ours(folder: Path, verb: str) -> None:
    """Refuse a folder to write into before any work is done: it must be absent, empty, or made by `verb`.

    Raises
    ------
    OutputFolderError
        The folder exists, isn't empty and was not made by `verb`.
    MachineError
        It can't be read.
    """
    try:
        names = {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return
    except NotADirectoryError as error:
        message = f"{folder} is a file; name a folder that doesn't exist yet."
        raise OutputFolderError(message) from error
    except OSError as error:
        message = f"{folder} can't be read: {error.strerror}."
        raise MachineError(message) from error
    if MARKER in names:
        made_by = _made_by(folder / MARKER)
        if made_by != verb:
            message = f"{folder} was made by `lepton {made_by}`; name another folder."
            raise OutputFolderError(message)
        return
    # A start that was killed before the marker stood has left a temporary file of ours at most.
    if any(not _TEMPORARY.match(name) for name in names):
        message = (
            f"{folder} exists and was not made by `lepton {verb}`. Nothing is ever written into "
            "a folder that isn't ours: name one that doesn't exist yet."
        )
        raise OutputFolderError(message)


def claim_folder(folder: Path, verb: str) -> None:
    """Make an output folder, or take one that the same verb made before.

    Temporary files that a dead process left there are cleared, only ours.

    Raises
    ------
    OutputFolderError
        It isn't ours: see `require_ours`.
    MachineError
        It can't be made.
    """
    require_ours(folder, verb)
    if not (folder / MARKER).exists():
        write_json(folder / MARKER, {"made_by": verb, "schema": 1})
    _clear_leftovers(folder)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder against a second process, or fail at once.

    Raises
    ------
    LockedError
        Another process holds it.
    """
    lock = filelock.FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        message = f"Another process is at work in {folder}. Wait for it, or name another folder."
        raise LockedError(message) from error
    except OSError as error:
        message = f"{folder} can't be locked: {error.strerror or error}."
        raise MachineError(message) from error
    try:
        yield
    finally:
        lock.release()


def _made_by(marker: Path) -> str:
    try:
        return str(json.loads(marker.read_text(encoding="utf-8"))["made_by"])
    except (OSError, ValueError, KeyError, TypeError):
        return "an unknown hand"


def _clear_leftovers(folder: Path) -> None:
    for path in sorted(folder.rglob(".lepton-*")):
        match = _TEMPORARY.match(path.name)
        if match and not is_alive(int(match.group(1))):
            with suppress(OSError):
                path.unlink(missing_ok=True)


def is_alive(process_id: int) -> bool:
    """Tell whether a process of this machine is running."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def without_nan(value: Any) -> Any:
    """Put None in the place of every NaN, however deep."""
    if isinstance(value, Mapping):
        return {str(key): without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and value != value:  # noqa: PLR0124 - the test for NaN
        return None
    return value
