"""A cell of a benchmark of trainings: made by the real commands, and kept, so that a next start goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lepton_monai import __version__

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
DATA = ROOT.parent / "shared" / "data"


def kept(path: Path, setting: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a finished cell; None: there is none.

    Raises
    ------
    SystemExit
        It was made with another time, other threads or other patients.
    """
    if not path.exists():
        return None
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if found["setting"] != setting:
        message = f"{path} was made with another setting: name another --out, or give the same options."
        raise SystemExit(message)
    return found


def keep(path: Path, content: Mapping[str, Any]) -> None:
    """Write a finished cell, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    finished = datetime.now(tz=UTC).isoformat(timespec="seconds")
    temporary.write_text(json.dumps({**content, "finished": finished}, indent=2), encoding="utf-8")
    temporary.replace(path)


def end_with_the_command() -> None:
    """Let an early end end the command of the cell too, or it would slow the next start."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def require_folders(data: Path, names: Iterable[str]) -> None:
    """End with a word where real data are absent."""
    absent = sorted({name for name in names if not (data / name).is_dir()})
    if absent:
        message = f"{data} lacks {', '.join(absent)}. Say where the data are: --data FOLDER."
        raise SystemExit(message)


def begun(name: str, folder: Path) -> None:
    """Say that a cell is begun, in a folder without anything of an earlier start."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"{datetime.now(tz=UTC):%H:%M:%S} {name} ...", flush=True)  # noqa: T201 - of a program


def run_lepton(folder: Path, home: Path, *arguments: str) -> str:
    """Run a real command on the CPU and return what it prints.

    Parameters
    ----------
    folder
        Keeps its output, as VERB.txt.
    home
        Holds its cache and its salt.
    arguments
        The verb first.

    Raises
    ------
    SystemExit
        It fails.
    """
    environment = os.environ | {"XDG_CACHE_HOME": str(home / "cache")}
    home.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "lepton_monai", *arguments]
    command += ["--device", "cpu", "--salt", str(home / "salt")]
    done = subprocess.run(  # noqa: S603 - our own program
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    (folder / f"{arguments[0]}.txt").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        message = f"lepton {' '.join(arguments)} fails:\n{done.stderr.strip()[-2000:]}"
        raise SystemExit(message)
    return done.stdout


def as_sets(changes: Mapping[str, object]) -> list[str]:
    """Return changes of a config as arguments."""
    return [part for key, value in changes.items() for part in ("--set", f"{key}={value}")]


def processor() -> str:
    """Name the processor; figures within a time are comparable on one kind alone."""
    described = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    told = dict(line.split(":", 1) for line in described.splitlines() if ":" in line)
    told = {key.strip(): value.strip() for key, value in told.items()}
    model = ", ".join(f"{key} {told[key]}" for key in ("cpu family", "model", "stepping"))
    lower = [one for one in ("avx512f", "avx512_bf16", "amx_bf16") if one in told["flags"].split()]
    return " ".join((told["model name"], f"({model})", *lower))


def versions() -> dict[str, str]:
    """Return what was measured."""
    return {"lepton_monai": __version__} | {name: version(name) for name in ("torch", "monai", "numpy")}
