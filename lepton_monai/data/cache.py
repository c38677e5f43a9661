"""Prepared cases on disk: found by what they were made of, so that they can't be stale.

An entry is a folder whose name is a digest of the voxels, of every value of the preparation and of the
versions that computed it. It is made under another name and renamed when it is whole; nothing is synced,
since a digest notices damage and the entry is made anew. Arrays are memory-mapped, so that workers and
ranks share their pages.
"""

import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from numpy.typing import NDArray

from lepton_monai.core.errors import MachineError
from lepton_monai.core.files import digest_of, is_alive
from lepton_monai.data.transforms import Prepared
from lepton_monai.plans.plan import PreparationPlan

VERSION = 3
"""Raised with every change of the preparation's code or of what an entry holds."""

MOST_PLACES = 10_000
"""Voxels of a class that are kept for the sampler to choose from."""

IN_USE_SECONDS = 86_400.0
"""An entry that was opened within a day is never removed for room."""

_ARRAYS = ("image.npy", "label.npy", "places.npy")
_RECORD = "entry.json"


@dataclass(frozen=True, eq=False)
class CachedCase:
    """A training case on the network's grid, memory-mapped.

    Parameters
    ----------
    folder
        Of the entry.
    image
        float16 ``(channel, x, y, z)``.
    label
        uint8 ``(x, y, z)``.
    places
        Of every class that occurs, by its id, up to `MOST_PLACES` voxels ``(n, 3)``.
    """

    folder: Path
    image: NDArray[np.float16]
    label: NDArray[np.uint8]
    places: dict[int, NDArray[np.int32]]

    def __reduce__(self) -> tuple[Callable[[Path], "CachedCase"], tuple[Path]]:
        """Go into another process as the name of the entry, not as its voxels."""
        return open_entry, (self.folder,)


def entry_key(voxels: Sequence[str], preparation: PreparationPlan) -> str:
    """Return the name of the entry of a case.

    Parameters
    ----------
    voxels
        Digests of image and label with their grids.
    preparation
        Every value of it counts.
    """
    parts = {
        "voxels": list(voxels),
        "preparation": asdict(preparation),
        "versions": [VERSION, monai.__version__, torch.__version__.partition("+")[0]],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def find_entry(root: Path, key: str) -> CachedCase | None:
    """Return a whole entry; a damaged one is removed; None: there is none.

    Its arrays are read once and compared with their digests.
    """
    folder = root / key
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if record["sha256"] == _digests(folder):
            (folder / _RECORD).touch()  # the least recently used go first
            return open_entry(folder)
    except (OSError, ValueError, KeyError):
        pass
    shutil.rmtree(folder, ignore_errors=True)
    return None


def add_entry(root: Path, key: str, prepared: Prepared) -> CachedCase:
    """Write an entry, and open it.

    Raises
    ------
    MachineError
        The disk is full, or the folder can't be written.
    """
    if prepared.label is None:
        message = "only a case with its label is kept"
        raise ValueError(message)
    folder = root / f".{key}-{os.getpid()}-{secrets.token_hex(4)}"
    label = prepared.label[0].numpy()
    try:
        folder.mkdir(parents=True)
        np.save(folder / _ARRAYS[0], prepared.image.numpy().astype(np.float16))
        np.save(folder / _ARRAYS[1], label)
        np.save(folder / _ARRAYS[2], _places(label))
        record = {"sha256": _digests(folder)}
        (folder / _RECORD).write_text(json.dumps(record), encoding="utf-8")
        _rename(folder, root / key)
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        message = f"The cache {root} can't be written: {error.strerror or error}. Name another: --cache."
        raise MachineError(message) from error
    return open_entry(root / key)


def open_entry(folder: Path) -> CachedCase:
    """Map the arrays of an entry."""
    image, label = (np.load(folder / name, mmap_mode="r") for name in _ARRAYS[:2])
    rows = np.load(folder / _ARRAYS[2])
    classes = np.unique(rows[:, 0]).tolist()
    return CachedCase(folder, image, label, {one: rows[rows[:, 0] == one, 1:] for one in classes})


def limit_cache(root: Path, most_bytes: int, keep: Sequence[str]) -> int:
    """Remove the entries that were used longest ago until the rest takes at most `most_bytes`.

    Returns
    -------
    removed
        Number of entries; those of `keep` stay.
    """
    _clear_leftovers(root)
    entries: list[tuple[float, int, Path]] = []
    for record in root.glob(f"[!.]*/{_RECORD}"):
        with suppress(FileNotFoundError):  # another process has just removed it
            size = sum(one.stat().st_size for one in record.parent.iterdir())
            entries.append((record.stat().st_mtime, size, record.parent))
    total, removed = sum(size for _, size, _ in entries), 0
    for used, size, folder in sorted(entries):
        if total <= most_bytes:
            break
        # What was used lately may belong to a training that is at work beside this one.
        if folder.name in keep or time.time() - used < IN_USE_SECONDS:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        total -= size
        removed += 1
    return removed


def _clear_leftovers(root: Path) -> None:
    """Remove the half entries of processes that were killed; a live one finishes its own."""
    for folder in root.glob(".*"):
        process = folder.name.split("-")[1:2]
        if folder.is_dir() and process and process[0].isdigit() and not is_alive(int(process[0])):
            shutil.rmtree(folder, ignore_errors=True)


def _places(label: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return class and voxel ``(n, 4)`` of up to `MOST_PLACES` voxels of every class."""
    rows = [np.empty((0, 4), np.int32)]
    for one in np.unique(label[label > 0]).tolist():
        found = np.argwhere(label == one).astype(np.int32)
        if len(found) > MOST_PLACES:
            found = found[np.random.default_rng(0).choice(len(found), MOST_PLACES, replace=False)]
        rows.append(np.insert(found, 0, one, axis=1))
    return np.concatenate(rows)


def _digests(folder: Path) -> dict[str, Any]:
    return {name: digest_of(folder / name) for name in _ARRAYS}


def _rename(folder: Path, target: Path) -> None:
    try:
        folder.rename(target)
    except OSError:
        # Another process has made the same entry in the meantime.
        if not (target / _RECORD).exists():
            raise
        shutil.rmtree(folder, ignore_errors=True)
