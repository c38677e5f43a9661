"""nnU-Net in an environment of its own: its packages and lepton's don't see each other.

The programs that run there begin with `nnunet_`; they import numpy, torch and nnU-Net alone.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGES = (
    "nnunetv2==2.8.1",
    "torch==2.14.1",
    "torchvision==0.29.1",  # of its trainer
    "batchgeneratorsv2==0.3.6",
    "dynamic_network_architectures==0.4.4",
    "acvl_utils==0.2.6",
    "blosc2==4.14.1",
    "numpy==2.4.6",
)

_VERSIONS = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
found = []
for pin in sys.argv[1:]:
    name, _, wanted = pin.partition("==")
    try:
        found.append(version(name).partition("+")[0] == wanted)
    except PackageNotFoundError:
        found.append(False)
print(json.dumps([pin for pin, there in zip(sys.argv[1:], found) if not there]))
"""


def nnunet_python(folder: Path) -> Path:
    """Return the Python of nnU-Net's environment; make it where there is none, some minutes and GB.

    Raises
    ------
    SystemExit
        It can't be made: no figure stands without its peer.
    """
    python = folder.absolute() / "bin" / "python"
    if python.exists() and not _lacking(python):
        return python
    print(f"making {folder} for nnU-Net (once, some minutes) ...", file=sys.stderr)  # noqa: T201 - a program
    if not python.exists():
        _must(sys.executable, "-m", "venv", str(folder))
    _must(str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *PACKAGES)
    if lacking := _lacking(python):
        message = f"nnU-Net's environment {folder} lacks {', '.join(lacking)}: name another folder."
        raise SystemExit(message)
    return python


def told_by(
    python: Path, program: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a program that lies beside this file; return the JSON on its last line.

    Raises
    ------
    SystemExit
        It fails.
    """
    path = Path(__file__).with_name(program)
    done = subprocess.run(  # noqa: S603 - our own program
        [str(python), str(path), *arguments],
        env=os.environ | dict(environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        message = f"{program} {' '.join(arguments)} fails:\n{(done.stdout + done.stderr).strip()[-2000:]}"
        raise SystemExit(message)
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def _lacking(python: Path) -> list[str]:
    lacking: list[str] = json.loads(_must(str(python), "-c", _VERSIONS, *PACKAGES))
    return lacking


def _must(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pip and venv
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        message = f"nnU-Net can't be installed, so there is nothing to measure against:\n{last}"
        raise SystemExit(message)
    return done.stdout
