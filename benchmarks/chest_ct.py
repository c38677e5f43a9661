"""A pretrained 3D network on other CT: "this crop holds tumour", by patient, against random weights.

    python benchmarks/chest_ct.py --out FOLDER [--data FOLDER] [--weights FOLDER]

The weights are `resnet152-chest-ct` of lepton's table: the package that carries them is installed in this
environment, or the file lies in the folder of --weights. Their load report is printed, and must say 929 of
930 tensors as they are. Then, on the CT series of `sts` (see `chest_crops.py` for the crops):

    values    a logistic regression on grey values, air or place: what needs no network
    probe     one on the pooled output of the last stage; nothing of the network learns
    tuning    the last stage and a new head learn, on the cached output of the stage before

from the weights, from random ones in the last stage alone, and from a network that is random altogether;
all for the same steps. Two folds test each of the 24 patients once; nothing is chosen on test patients. A
random network has its norms settled on crops of the training patients. Finished cells are kept as JSON in
FOLDER/cells, so that the same command goes on. `lepton train` with `network.weights: resnet152-chest-ct`
opens the network the same way; crops beside a tumour are no level of it, so this program makes them. Exit
code 1: the load report is another.
"""

import argparse
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chest_crops import AIR_BELOW_HU, LEAST_BODY, TASK, CropChoice, Crops, read_crops
from chest_network import (
    NEW_RATE,
    PRETRAINED_FACTOR,
    Array,
    Scores,
    Tuning,
    features,
    pretrained_network,
    probe,
    random_network,
    settle_random,
    tune,
)
from chest_table import print_table
from cost import Bound, judge
from tasks import Sides, sides

from lepton_monai.core.errors import WeightsError
from lepton_monai.core.files import write_text
from lepton_monai.networks.known import known_weights
from lepton_monai.networks.transfer import LoadReport

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
KNOWN = known_weights()["resnet152-chest-ct"]

VALUES = {
    "mean HU": [0],
    "share of air": [2],
    "grey values and air": [0, 1, 2],
    "place in the image": [3],
}
"""Columns of `Crops.measures` that are a baseline."""

CROPS = CropChoice(size=(64, 64, 32), spacing_mm=(0.75, 0.75, 1.5), each=4)
"""A crop must fit beside a tumour, and the images end 5 cm from it: 48 mm along each axis. The network was
trained on 1.5 x 1.5 x 3 mm; at that spacing a crop leaves one voxel to its last stage, here it is eight."""


@dataclass(frozen=True)
class Setting:
    """What is the same for every cell, and where things lie."""

    data: Path
    weights: Path | None
    out: Path
    patients: int | None
    steps: int
    seeds: int

    def told(self) -> dict[str, Any]:
        """Return what the figures of a cell depend on."""
        return {"crops": asdict(CROPS), "patients": self.patients, "steps": self.steps}


@dataclass(frozen=True)
class Cell:
    """A method from a start, on one fold of the patients, with a seed."""

    method: str
    start: str
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """Return it as a file name."""
        return f"{self.method}-{self.start}-fold_{self.fold}-{self.seed}".replace(" ", "_")

    def sides(self, setting: Setting) -> Sides:
        """Return who is trained on and who is tested."""
        return sides(TASK, setting.data, self.fold, setting.patients)


def main() -> None:
    """Do what is missing and print the tables."""
    setting = _arguments()
    _require_same(setting)
    try:
        _, report = _pretrained(setting.weights)
    except WeightsError as absent:
        raise SystemExit(str(absent)) from absent
    _print_report(report)
    crops = _crops(setting)
    _print_crops(crops)
    cells = list(_cells(setting.seeds))
    done = [_finished(cell, setting, crops) for cell in cells]
    print_table(done)
    print()  # noqa: T201 - this is a program
    judge(
        [
            Bound("tensors of the weights as they are", len(report.matched), 929, at_least=True),
            Bound("tensors adapted", len(report.adapted), 1),
            Bound("tensors not used", len(report.unused), 0),
            Bound("tensors new, those of the head", len(report.new), 2),
        ]
    )


def _arguments() -> Setting:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="the real data [default: ../shared/data]")
    parser.add_argument("--out", type=Path, required=True, help="for crops, features and cells")
    parser.add_argument("--weights", type=Path, help=f"has {KNOWN.file} [default: the installed package]")
    parser.add_argument("--threads", type=int, default=1, help="[default: 1]")
    parser.add_argument("--steps", type=int, default=60, help="of the tuning [default: 60]")
    parser.add_argument("--seeds", type=int, default=2, help="of all that is random [default: 2]")
    parser.add_argument("--patients", type=int, help="at most so many of each side: to try it out")
    given = parser.parse_args()
    if not (given.data / TASK.split).is_file():
        parser.error(f"the data aren't there: {given.data / TASK.split}. Say where they are: --data FOLDER")
    torch.set_num_threads(given.threads)
    out = given.out.absolute()
    return Setting(given.data.absolute(), given.weights, out, given.patients, given.steps, given.seeds)


def _require_same(setting: Setting) -> None:
    """Exit where the folder was begun with other options: its crops, features and cells are of those."""
    path = setting.out / "setting.json"
    told = json.dumps(setting.told())
    if not path.exists():
        write_text(path, told)
    elif path.read_text(encoding="utf-8") != told:
        message = (
            f"{path.parent} was begun with another setting: name another --out, or give the same options."
        )
        raise SystemExit(message)


def _cells(seeds: int) -> Iterator[Cell]:
    """Yield the cells, the cheap ones first."""
    for fold in range(TASK.folds):
        yield from (Cell("values", name, fold, 0) for name in VALUES)
        yield Cell("probe", "chest CT", fold, 0)
    for seed in range(seeds):
        for fold in range(TASK.folds):
            yield Cell("probe", "random", fold, seed)
            yield from (Cell("tuning", start, fold, seed) for start in RATES)


@lru_cache(maxsize=1)
def _pretrained(folder: Path | None) -> tuple[torch.nn.Module, LoadReport]:
    return pretrained_network(KNOWN, CROPS.size, folder)


def _print_report(report: LoadReport) -> None:
    print(report.text())  # noqa: T201 - this is a program
    for change in report.adapted:
        depth = change.wanted[-1]  # slices are the last axis, `turn_kernels` saw to it
        kept = change.found is not None and change.found[-1] == depth
        print(f"  its depth of {depth} slices is {'kept' if kept else 'inflated'}")  # noqa: T201 - as above


def _crops(setting: Setting) -> Crops:
    """Return the crops of all patients; they are cut out once."""
    path = setting.out / "crops.npz"
    if not path.exists():
        who = [sides(TASK, setting.data, fold, setting.patients) for fold in range(TASK.folds)]
        names = sorted({name for one in who for name in (*one.train, *one.test)})
        crops = read_crops(setting.data, names, CROPS, KNOWN.intensity, setting.out / "salt")
        _save(path, **vars(crops))
    with np.load(path) as kept:
        return Crops(**kept)


def _save(path: Path, **arrays: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp.npz")
    np.savez(temporary, **arrays)
    temporary.replace(path)


def _print_crops(crops: Crops) -> None:
    size = " x ".join(f"{n * s:g}" for n, s in zip(CROPS.size, CROPS.spacing_mm, strict=True))
    print(  # noqa: T201 - this is a program
        f"\n{len(crops.labels)} crops of {size} mm, {CROPS.size} voxels, of {len(set(crops.patients))} "
        f"patients, each at least {LEAST_BODY:.0%} above {AIR_BELOW_HU:g} HU"
    )
    for label, kind in ((1, "in the tumour"), (0, "beside it")):
        hu, deviation, air, place = crops.measures[crops.labels == label].mean(axis=0)
        print(  # noqa: T201 - this is a program
            f"  {kind:14} {hu:5.0f} HU, deviation {deviation:4.0f}, {air:.1%} air, "
            f"{place:.0f} mm from the middle of the image"
        )


def _finished(cell: Cell, setting: Setting, crops: Crops) -> dict[str, Any]:
    """Return a cell, run where it isn't kept."""
    path = setting.out / "cells" / f"{cell.name}.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    began = datetime.now(tz=UTC)
    test = crops.of(cell.sides(setting).test)
    scores, told = METHODS[cell.method](cell, setting, crops)
    content = {
        **asdict(cell),
        **told,
        "finished": datetime.now(tz=UTC).isoformat(timespec="seconds"),
        "patients": crops.patients[test].tolist(),
        "labels": crops.labels[test].tolist(),
        "scores": scores.tolist(),
    }
    write_text(path, json.dumps(content))
    seconds = (datetime.now(tz=UTC) - began).total_seconds()
    print(f"{began:%H:%M:%S} {cell.name}, {seconds:.0f} s {told}", flush=True)  # noqa: T201 - a program
    return content


def _values(cell: Cell, setting: Setting, crops: Crops) -> tuple[Scores, dict[str, Any]]:
    return _probed(crops.measures[:, VALUES[cell.start]], cell, setting, crops)


def _probe(cell: Cell, setting: Setting, crops: Crops) -> tuple[Scores, dict[str, Any]]:
    return _probed(_features(cell, setting, crops)["pooled"], cell, setting, crops)


def _probed(values: Array, cell: Cell, setting: Setting, crops: Crops) -> tuple[Scores, dict[str, Any]]:
    who = cell.sides(setting)
    train, test = crops.of(who.train), crops.of(who.test)
    scores, decay = probe(values[train], crops.labels[train], crops.patients[train], values[test])
    return scores, {"decay": decay}


RATES = {
    "chest CT": NEW_RATE * PRETRAINED_FACTOR,
    "last stage random": NEW_RATE,
    "random": NEW_RATE,
}
"""Of the last stage, by where the tuning starts."""


def _tuning(cell: Cell, setting: Setting, crops: Crops) -> tuple[Scores, dict[str, Any]]:
    maps = _features(cell, setting, crops)["maps"]
    who = cell.sides(setting)
    train, test = crops.of(who.train), crops.of(who.test)
    is_random = cell.start != "chest CT"
    network = random_network(KNOWN, CROPS.size, cell.seed) if is_random else _pretrained(setting.weights)[0]
    how = Tuning(setting.steps, RATES[cell.start], cell.seed)
    return tune(network, maps[train], crops.labels[train], maps[test], how), {"rate": how.rate}


def _features(cell: Cell, setting: Setting, crops: Crops) -> dict[str, Array]:
    """Return what a network makes of all crops; it is computed once, and kept as float16."""
    is_random = cell.start == "random"
    name = f"random-fold_{cell.fold}-{cell.seed}" if is_random else "chest_CT"
    path = setting.out / "features" / f"{name}.npz"
    if not path.exists():
        if is_random:
            network = random_network(KNOWN, CROPS.size, cell.seed)
            settle_random(network, crops.images[crops.of(cell.sides(setting).train)])
        else:
            network = _pretrained(setting.weights)[0]
        maps, pooled = features(network, crops.images)
        _save(path, maps=maps, pooled=pooled)
    with np.load(path) as kept:
        return dict(kept)


METHODS: dict[str, Callable[[Cell, Setting, Crops], tuple[Scores, dict[str, Any]]]] = {
    "values": _values,
    "probe": _probe,
    "tuning": _tuning,
}


if __name__ == "__main__":
    main()
