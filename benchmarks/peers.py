"""The readers that lepton is measured beside, in an environment of their own.

`peers_python()` makes it once, with the pinned packages below, and returns its Python. Nothing of it is
installed where lepton is, so that neither changes what the other finds.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import filelock

from lepton_monai.core.files import cache_folder

PACKAGES = (
    "numpy==2.4.6",
    "pydicom==3.0.2",
    "SimpleITK==2.5.7",
    "torch==2.13.0",
    "monai==1.6.1",
    "itk==5.4.7",  # of MONAI's ITKReader
    "highdicom==0.28.2",
    "dicom2nifti==2.6.2",
    "dcm2niix==1.0.20260724",
    "dicomsdl==0.109.*",
    "fastdicom==0.1.*",
    "nibabel==5.4.2",
    "imagecodecs==2026.3.6",
    # what pydicom decodes with
    "pylibjpeg==2.1.0",
    "pylibjpeg-libjpeg==2.4.0",  # 2.5 needs Python 3.12
    "pylibjpeg-openjpeg==2.5.0",
    "pylibjpeg-rle==2.2.0",
    "pyjpegls==1.5.1",
)
"""What `pip` installs: about 1.5 GB on a machine without an NVIDIA GPU."""


def peers_python(folder: Path | None = None) -> Path:
    """Return the Python that has the peers; make its environment where there is none.

    Parameters
    ----------
    folder
        Where environments are kept; None: in the user's cache folder.

    Raises
    ------
    SystemExit
        There is no place for it, or the packages can't be installed.
    """
    kept = folder or cache_folder()
    if kept is None:
        message = "There is no cache folder for the peers' environment: name one with --peers FOLDER."
        raise SystemExit(message)
    pins = "\n".join((sys.version, *PACKAGES))
    environment = kept.absolute() / f"peers-{hashlib.sha256(pins.encode()).hexdigest()[:12]}"
    python = environment / "bin" / "python"
    environment.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{environment}.lock"):
        stamp = environment / "complete"
        if not stamp.exists():
            _make(environment, python)
            stamp.touch()
    return python


def cpu_of_peer(python: Path, reader: str, folder: Path, runs: int = 2) -> float:
    """Return the least CPU seconds of one of `peer_readers` in an environment of :func:`peers_python`.

    Raises
    ------
    SystemExit
        It fails: no figure stands without its peer.
    """
    program = Path(__file__).with_name("peer_readers.py")
    command = [str(python), str(program), reader, str(folder), str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own program
    if done.returncode:
        message = f"{reader} fails: {done.stderr.strip()[-300:]}"
        raise SystemExit(message)
    return float(done.stdout.split()[-1])


def _make(environment: Path, python: Path) -> None:
    print(f"making {environment} (once, some minutes) ...", file=sys.stderr)  # noqa: T201 - this is a program
    shutil.rmtree(environment, ignore_errors=True)  # a half one of an earlier, interrupted start
    _must(sys.executable, "-m", "venv", str(environment))
    _must(str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", *PACKAGES)


def _must(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - pip and venv
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
        message = f"The peers can't be installed, so there is nothing to measure against:\n{last}"
        raise SystemExit(message)
