"""Right, refused, or wrong: lepton and its peers over every series of the catalogue.

    python benchmarks/readers.py [--peers FOLDER] [--kept FOLDER]

makes the peers' environment (once), writes the synthetic series of ``tests/dicom/catalogue``, lets every
reader read them as its documentation shows it, and prints a table. It ends with 1 where lepton is silently
wrong, or where a peer reads a series right that lepton reads neither by itself nor on request.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the catalogue is no part of the package

from benchmarks.peers import peers_python  # noqa: E402
from lepton_monai.core.errors import SeriesRefused  # noqa: E402
from lepton_monai.dicom import RefusedSeries, read_series, regularise, repair, scan  # noqa: E402
from tests.dicom.catalogue import CATALOGUE, TrueVolume, Truth  # noqa: E402

PEERS = ("SimpleITK", "MONAI ITKReader", "MONAI PydicomReader", "highdicom", "dicom2nifti", "dcm2niix")

RIGHT, REFUSED, WARNED, WRONG, CRASH = (
    "right",
    "refused clearly",
    "wrong, with a printed warning",
    "silently wrong",
    "crash or nothing said",
)

ACCIDENTS = frozenset(
    {"AssertionError", "AttributeError", "IndexError", "KeyError", "NameError", "OverflowError"}
    | {
        "RecursionError",
        "TypeError",
        "UnboundLocalError",
        "UnicodeDecodeError",
        "ZeroDivisionError",
        "error",
    }
)
"""What nobody raises to say that a file is bad."""

NO_QUESTION_OF_VOXELS = frozenset({"colour", "bad_uid", "real_world_map_present"})
"""Rows that are left out: colour has no scalar truth, a bad UID is refused for what it may become, and
to use a real-world map in the place of the rescale is another right answer."""

NEAR_MM = 0.1
"""Twice our gate."""

TWICE_ROUNDED = 2.0
"""A converter may interpolate between rounded values and round again; the ramp climbs by 10 a mm."""

HALF = 0.5
ROUNDING = 1e-5
"""Of the largest value: float32 after a slope."""

Affine = NDArray[np.float64]
Volumes = list[tuple[NDArray[Any], Affine]]


@dataclass(frozen=True)
class Result:
    """What a reader made of one series; affines in LPS.

    `resampled` is what a converter offers beside the volumes where it has brought them to right angles.
    """

    volumes: Volumes
    raised: str = ""
    printed: str = ""
    resampled: Volumes | None = None


def judge(result: Result, truth: Truth) -> str:
    """Say what kind of answer it is."""
    if result.volumes:
        if any(is_right(one, truth) for one in (result.volumes, result.resampled) if one):
            return RIGHT
        accident = result.raised.split(":")[0].rsplit(".")[-1] in ACCIDENTS
        is_part = all(any(_same(one, true) for true in truth.volumes) for one in result.volumes)
        if is_part and result.raised and not accident:
            return REFUSED  # of the rest
        return WARNED if result.printed or result.raised else WRONG
    kind = result.raised.split(":")[0].rsplit(".")[-1]
    return CRASH if kind in ACCIDENTS or not (result.raised or result.printed) else REFUSED


def is_right(volumes: Volumes, truth: Truth) -> bool:
    """Tell whether they are the true volumes, or what a repair of the series must give."""
    wanted = [truth.volumes, *truth.repaired.values()]
    if any(one and _are_same(volumes, one) for one in wanted):
        return True
    return truth.linear is not None and all(_is_linear(one, truth.linear) for one in volumes)


def _are_same(volumes: Volumes, truth: Sequence[TrueVolume]) -> bool:
    if all(true.values.shape[2] > 1 for true in truth):
        volumes = [one for one in volumes if min(one[0].shape) > 1]  # a localizer beside them is no mistake
    if len(volumes) != len(truth):
        return False
    left = list(truth)
    for one in volumes:
        same = next((true for true in left if _same(one, true)), None)
        if same is None:
            return False
        left.remove(same)
    return True


def _same(volume: tuple[NDArray[Any], Affine], truth: TrueVolume) -> bool:
    """Compare in the unit of the file as well: no peer computes SUV."""
    array, affine = volume
    if array.ndim == 2:  # one slice
        array = array[:, :, None]
    if array.ndim != 3 or not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        return False
    for factor in {1.0, truth.factor}:
        values = truth.values / factor
        room = max(truth.tolerance / factor, ROUNDING * float(np.nanmax(np.abs(values))))
        if not replace(truth, values=values, tolerance=room).error(array, affine, NEAR_MM):
            return True
    return False


def _is_linear(volume: tuple[NDArray[Any], Affine], linear: Sequence[float]) -> bool:
    """Tell whether a resampled image is the linear one, but for one value where nothing was measured."""
    array, affine = volume
    if array.ndim != 3:
        return False
    world = np.indices(array.shape).reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3]
    expected = (world @ np.asarray(linear[:3]) + linear[3]).reshape(array.shape)
    near = np.abs(array - expected) <= max(TWICE_ROUNDED, ROUNDING * np.abs(expected).max())
    return bool(near.mean() >= HALF and len(np.unique(np.round(array[~near], 3))) <= 1)


def number_through(folder: Path) -> None:
    """Count InstanceNumber from volume to volume, as a scanner does: some peers lean on it."""
    for number, path in enumerate(sorted(folder.iterdir()), start=1):
        dataset = pydicom.dcmread(path)
        dataset.InstanceNumber = number
        dataset.save_as(path)


# ------------------------------------------------------------------------------- lepton
def lepton(folder: Path) -> tuple[Result, Result]:
    """Read by default, and with every repair that can be asked for."""
    index = scan([folder])
    volumes: Volumes = []
    refused = [one.finding.code for one in index.refused] + [one.code for one in index.findings]
    for series in index.series:
        try:
            volume = read_series(series)
        except SeriesRefused as refusal:
            refused.append(refusal.finding.code)
            continue
        volumes.append((volume.array, volume.grid.affine))
    asked = [one for each in index.refused for one in _repaired(each)]
    return Result(volumes, "; ".join(refused)), Result([*volumes, *asked])


def _repaired(refused: RefusedSeries) -> Iterable[tuple[NDArray[Any], Affine]]:
    for series in repair(refused, ("fill_gaps", "keep_tilt", "by_instance_number")):
        volume = read_series(series)
        yield volume.array, volume.grid.affine
    if refused.finding.code == "variable_spacing":
        resampled = regularise(refused)
        if resampled is not None:
            yield (
                np.where(resampled.valid, resampled.array, 0)
                if resampled.valid is not None
                else (resampled.array),
                resampled.grid.affine,
            )


# ------------------------------------------------------------------------------- the peers
def run_peer(python: Path, reader: str, source: Path, out: Path) -> None:
    """Let a peer read all series; start it again behind each that ends its process."""
    out.mkdir(parents=True, exist_ok=True)
    script = Path(__file__).with_name("peer_volumes.py")
    while True:
        started = len(list(out.glob("*.started")))
        command = [str(python), str(script), reader, str(source), str(out)]
        done = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - our own script
        if done.returncode == 0:
            return
        if len(list(out.glob("*.started"))) == started:
            message = f"{reader} can't be started:\n{done.stderr.decode()[-2000:]}"
            raise SystemExit(message)


def results_of(out: Path, names: Sequence[str]) -> dict[str, Result]:
    """Collect what a peer wrote; lines that it prints for every plain series say nothing about one."""
    contents: dict[str, dict[str, Any]] = {}
    for number, name in enumerate(names):
        path = out / f"{number:03d}.json"
        ended = {"raised": "error: its process ended", "printed": "", "names": []}
        contents[name] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else ended
    usual = {
        line
        for name, content in contents.items()
        if name.startswith("plain")
        for line in _shape(content["printed"])
    }
    results: dict[str, Result] = {}
    for number, name in enumerate(names):
        content = contents[name]
        said = "\n".join(line for line in _shape(content["printed"]) if line not in usual)
        raised = content["raised"] or _last_error(content["printed"])
        plain, resampled = (
            _volumes(out / f"{number:03d}.npz", content["names"], resampled=one) for one in (False, True)
        )
        results[name] = Result(plain, raised, said, resampled)
    return results


def _shape(printed: str) -> list[str]:
    """Return the lines without their numbers and paths."""
    lines = (
        " ".join(word for word in line.split() if not set(word) & set("0123456789/"))
        for line in printed.splitlines()
    )
    return [line for line in lines if line]


def _last_error(printed: str) -> str:
    """Return the last line of the last traceback: dicom2nifti prints it and goes on."""
    if "Traceback" not in printed:
        return ""
    last = [line for line in printed.split("Traceback")[-1].splitlines() if line and line[0] not in " ("]
    return last[0].rsplit(".", 1)[-1] if last else ""


def _volumes(path: Path, names: Sequence[str], *, resampled: bool) -> Volumes:
    """Read the arrays that a converter has not resampled, or those that it has."""
    if not path.exists():
        return []
    wanted = [at for at, name in enumerate(names) if ("_Eq" in name or "_Tilt" in name) == resampled]
    with np.load(path) as kept:
        return [(kept[f"array {at}"], kept[f"affine {at}"]) for at in wanted]


# ------------------------------------------------------------------------------- the table
def table(kinds: dict[str, dict[str, str]]) -> str:
    """Return the answers of every reader, counted."""
    head = (RIGHT, REFUSED, WARNED, WRONG, CRASH)
    lines = [
        f"| of {len(next(iter(kinds.values())))} | {' | '.join(head)} |",
        "| --- |" + " --- |" * len(head),
    ]
    for reader, answers in kinds.items():
        counts = Counter(answers.values())
        lines.append(f"| {reader} | {' | '.join(str(counts[one]) for one in head)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table, and what must not be in it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peers", type=Path, help="where the peers' environment is kept")
    parser.add_argument(
        "--kept", type=Path, help="where series and answers are kept; an answer that is there counts"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # pydicom's, while the catalogue writes what nobody should
    with tempfile.TemporaryDirectory() as temporary:
        sys.exit(_compare(options.kept or Path(temporary), peers_python(options.peers)))


def _compare(folder: Path, python: Path) -> int:
    names = [name for name, one in CATALOGUE.items() if one.row not in NO_QUESTION_OF_VOXELS]
    source = folder / "series"
    shutil.rmtree(source, ignore_errors=True)  # of an earlier run
    truths = {name: CATALOGUE[name].write(source / f"{at:03d}") for at, name in enumerate(names)}
    for at, name in enumerate(names):
        if CATALOGUE[name].row.startswith(("multiple_", "overlapping_")):
            number_through(source / f"{at:03d}")
    ours = {name: lepton(source / f"{at:03d}") for at, name in enumerate(names)}
    kinds = {"lepton": {name: judge(ours[name][0], truths[name]) for name in names}}
    for name, kind in kinds["lepton"].items():
        if kind == WARNED:  # a finding is no excuse for a wrong volume
            kinds["lepton"][name] = WRONG
    on_request = {name for name in names if is_right(ours[name][1].volumes, truths[name])}
    for reader in PEERS:
        out = folder / reader.replace(" ", "-")
        run_peer(python, reader, source, out)
        results = results_of(out, names)
        kinds[reader] = {name: judge(results[name], truths[name]) for name in names}
    report = {"kinds": kinds, "on_request": sorted(on_request)}
    (folder / "readers.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    able = {name for name, kind in kinds["lepton"].items() if kind == RIGHT} | on_request
    behind = [
        f"{name}: {', '.join(reader for reader in PEERS if kinds[reader][name] == RIGHT)}"
        for name in names
        if name not in able and any(kinds[reader][name] == RIGHT for reader in PEERS)
    ]
    print(table(kinds))  # noqa: T201 - this is a program
    more = len(on_request - {name for name, kind in kinds["lepton"].items() if kind == RIGHT})
    print(f"\nlepton on request: {more} more are right.")  # noqa: T201
    print(f"A peer is right and lepton is not: {behind or 'nowhere'}.")  # noqa: T201
    return int(bool(behind) or WRONG in kinds["lepton"].values())


if __name__ == "__main__":
    main()
