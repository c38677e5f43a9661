"""What an index costs beside other readers of headers: `python benchmarks/scan.py`.

CPU on one core in one run, the page cache warm: trees of CT series with lean headers (1.2 KB) and fat ones
(14 KB with private blocks); a new index with its rows in SQLite, the walk alone, an unchanged tree, and the
memory of 100,000 files in series of 100. Peers are asked for headers one file at a time and know nothing
of series. The headers of pydicom are `dcmread(stop_before_pixels=True)` without a single value; every walk
gives the same twelve values.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cost import Bound, cpu_of_each, judge  # noqa: E402 - the checkout comes first
from ct_files import write_tiny, write_tree  # noqa: E402
from peer_readers import HEADERS, files_of  # noqa: E402
from peers import cpu_of_peer, peers_python  # noqa: E402

from lepton_monai.core.findings import Finding  # noqa: E402
from lepton_monai.dicom import scan  # noqa: E402
from lepton_monai.dicom.file import parse_file  # noqa: E402
from lepton_monai.dicom.recall import Recall  # noqa: E402

SERIES, SLICES = 5, 200
MANY = 100_000

PEAK = """
import sys
from pathlib import Path
from cost import peak_bytes
from lepton_monai.dicom import scan

root, database = map(Path, sys.argv[1:])
print(peak_bytes(lambda: scan([root], database=database)))
"""


def new_index(root: Path) -> None:
    """Make the index of a tree where there was none."""
    with tempfile.TemporaryDirectory() as folder:
        scan([root], database=Path(folder) / "index.sqlite")


def walk_alone(root: Path) -> None:
    """Read the headers of a tree, twelve values of each."""
    recall = Recall()  # as an index has it
    for path in files_of(str(root)):
        parsed = parse_file(path, recall)
        if isinstance(parsed, Finding):
            raise TypeError(parsed.message)
        elements = parsed.elements
        for keyword in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "Modality"):
            elements.text(keyword)
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            elements.vectors(keyword)
        for keyword in ("Rows", "Columns", "InstanceNumber"):
            elements.whole(keyword)
        elements.number("RescaleSlope")


def list_with_stat(root: str) -> None:
    """Look at every entry of a tree and its state, and at nothing else."""
    with os.scandir(root) as entries:
        for entry in entries:
            entry.stat()
            if entry.is_dir():
                list_with_stat(entry.path)


def header_bounds(root: Path, kind: str, python: Path, rounds: int) -> Iterator[Bound]:
    """Measure a new index and the walk beside the peers."""
    write_tree(root, SERIES, SLICES, fat=kind == "fat")
    works = {"index": partial(new_index, root), "walk": partial(walk_alone, root)}
    taken = cpu_of_each(works, rounds)
    taken |= {peer: cpu_of_peer(python, peer, root, rounds) for peer in HEADERS}
    each = ", ".join(f"{name} {seconds * 1e6 / SERIES / SLICES:.1f}" for name, seconds in taken.items())
    print(f"{kind} headers, CPU us a file: {each}")  # noqa: T201 - this is a program
    yield Bound(f"{kind}: CPU of a new index in pydicom's headers", taken["index"] / taken["pydicom"], 0.2)
    for peer in ("dicomsdl", "fastdicom"):
        rate = taken[peer] / taken["walk"]
        yield Bound(f"{kind}: rate of the walk alone in that of {peer}", rate, 0.9, at_least=True)


def unchanged_bound(root: Path, files: int, rounds: int) -> Bound:
    """Measure another look at a tree that hasn't changed."""
    database = root.with_suffix(".sqlite")
    scan([root], database=database)
    works = {"scan": partial(scan, [root], database=database), "list": partial(list_with_stat, str(root))}
    taken = cpu_of_each(works, rounds)
    return Bound(f"{files} files unchanged: CPU in scandir with stat", taken["scan"] / taken["list"], 3.0)


def peak_mb(root: Path) -> float:
    """Return by how much a new process grows while it makes a new index."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(  # noqa: S603 - our own program
            [sys.executable, "-c", PEAK, str(root), str(Path(folder) / "index.sqlite")],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
    return int(done.stdout) / 1e6


def main() -> None:
    """Measure, print the table; exit with 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument(
        "--peers", type=Path, help="where the peers' environment is kept (the user's cache)"
    )
    arguments = parser.parse_args()
    python = peers_python(arguments.peers)
    bounds: list[Bound] = []
    peaks: dict[int, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for kind in ("lean", "fat"):
            bounds += header_bounds(Path(name) / kind, kind, python, arguments.rounds)
        for files in (MANY // 10, MANY):
            root = Path(name) / str(files)
            write_tiny(root, files)
            peaks[files] = peak_mb(root)
            if files < MANY:
                bounds.append(unchanged_bound(root, files, arguments.rounds))
    told = ", ".join(f"{mb:.0f} MB at {files} files" for files, mb in peaks.items())
    print(f"peak memory of a new index above its imports: {told}\n")  # noqa: T201 - this is a program
    bounds.append(Bound("peak memory at ten times the files", peaks[MANY] / peaks[MANY // 10], 1.2))
    judge(bounds)


if __name__ == "__main__":
    main()
