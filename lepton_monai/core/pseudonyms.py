"""Names that name nobody: keyed hashes of patient, study and series.

The same salt gives the same pseudonym in an index, a run and a folder of predictions, so that they
can be put side by side; without the salt or a `key.json` nobody can go back.
"""

import hashlib
import hmac
import os
import re
import secrets
from dataclasses import dataclass
from pathlib import Path

from lepton_monai.core.errors import ConfigError, MachineError

SALT_BYTES = 32

_OTHERS = re.compile(r"[^A-Za-z0-9]")


@dataclass(frozen=True)
class Pseudonyms:
    """Makes pseudonyms with one secret salt.

    Parameters
    ----------
    salt
        Secret bytes; who has them can test guesses of patient ids.
    """

    salt: bytes

    def of(self, prefix: str, *parts: str) -> str:
        """Return ``PREFIX-`` and ten hex digits (40 bits) of HMAC-SHA256 over the parts.

        The prefix comes from a file (its modality) and ends in paths: letters and digits alone are kept.
        """
        # Each part's length goes in, so that ("ab", "c") and ("a", "bc") differ.
        message = b"".join(
            len(data).to_bytes(4, "big") + data
            for data in (part.encode("utf-8", "surrogateescape") for part in parts)
        )
        digest = hmac.new(self.salt, message, hashlib.sha256).hexdigest()
        return f"{_OTHERS.sub('', prefix)[:16] or 'OT'}-{digest[:10]}"


def load_pseudonyms(salt_file: Path | None = None) -> Pseudonyms:
    """Read the user's salt, or make it once with mode 0600.

    Parameters
    ----------
    salt_file
        Its place; None: the user's data folder.

    Raises
    ------
    ConfigError
        The file exists and is no salt.
    MachineError
        It can't be read or made.
    """
    path = salt_file or salt_path()
    try:
        if not path.exists():
            _make_salt(path)
        salt = path.read_bytes()
    except OSError as error:
        message = (
            f"The salt for pseudonyms can't be read or made at {path}: {error.strerror}. "
            "Name another place with --salt FILE."
        )
        raise MachineError(message) from error
    if len(salt) < SALT_BYTES:
        message = f"{path} is no salt: {len(salt)} bytes, {SALT_BYTES} are needed."
        raise ConfigError(message)
    return Pseudonyms(salt)


def salt_path() -> Path:
    """Return where this user's salt is kept, whether it is there yet or not.

    Raises
    ------
    MachineError
        This user has no home folder.
    """
    chosen = os.environ.get("XDG_DATA_HOME")
    try:
        base = Path(chosen) if chosen else Path.home() / ".local" / "share"
    except RuntimeError as error:  # no HOME and no entry for this user
        message = "This user has no home folder for the salt. Name a place with --salt FILE."
        raise MachineError(message) from error
    return base / "lepton_monai" / "salt"


def _make_salt(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}-{os.getpid()}-{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(secrets.token_bytes(SALT_BYTES))
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(temporary, path)  # unlike rename, never replaces the salt of a faster process
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
