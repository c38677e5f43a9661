"""What reading a CT series costs beside the floor and other readers: `python benchmarks/read.py`.

CPU in one run, the page cache warm. The floor is `preadv` at known offsets into one array: no reader of
these files can take less. lepton's figures hold all that a user waits for: looking through the folder,
every header, the checks, the order, and the pixels in physical values; without an index, if none is named.

The first table is the CPU of every reader, in floors and in lepton's reading as int16 (`dtype=None`) and as
float32. The second holds the bounds. A peer's is its CPU in that of lepton's int16.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import imagecodecs  # noqa: E402 - the checkout comes first
import numpy as np  # noqa: E402
import pydicom  # noqa: E402
from cost import Bound, cpu_of_each, judge  # noqa: E402
from ct_files import write_volume  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from peer_readers import VOLUMES  # noqa: E402
from peers import cpu_of_peer, peers_python  # noqa: E402
from pydicom.encaps import generate_frames  # noqa: E402
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless  # noqa: E402

from lepton_monai.core.volume import Volume  # noqa: E402
from lepton_monai.dicom import read_series, scan  # noqa: E402

SLICES = 200

AT_LEAST = {
    "MONAI ITKReader": 30.0,
    "MONAI PydicomReader": 30.0,
    "SimpleITK": 15.0,
    "dcm2niix (writes, no gzip)": 3.0,
    "dicomsdl, stored int16 in place": 2.0,
}
"""How many times more CPU a peer takes than lepton's int16, at least."""

DECODERS: dict[str, tuple[str, Callable[[bytes], object]]] = {
    "JPEG-LS": (JPEGLSLossless, imagecodecs.jpegls_decode),
    "JPEG 2000": (JPEG2000Lossless, imagecodecs.jpeg2k_decode),
    "RLE": (
        RLELossless,
        lambda frame: imagecodecs.dicomrle_decode(frame, np.dtype("<u2"), out=512 * 512 * 2),
    ),
}
"""Transfer syntax and the decoder alone, from a frame in memory to its pixels."""

PEAK = """
import sys
from pathlib import Path
from cost import peak_bytes
import numpy as np
from lepton_monai.dicom import read_series, scan

dtype = None if sys.argv[2] == "int16" else np.float32
print(peak_bytes(lambda: read_series(scan([Path(sys.argv[1])]).series[0], dtype=dtype)))
"""


def lepton(folder: Path, dtype: type | None, database: Path | None = None) -> Volume:
    """Read the only series of a folder, from the folder's name on."""
    return read_series(scan([folder], database=database).series[0], dtype=dtype)


def floor(places: list[tuple[str, int]]) -> NDArray[np.int16]:
    """Read bytes at known offsets into one array."""
    array = np.empty((len(places), 512, 512), np.int16)
    for plane, (file, offset) in zip(array, places, strict=True):
        descriptor = os.open(file, os.O_RDONLY)
        os.preadv(descriptor, [plane.reshape(-1).view(np.uint8).data], offset)
        os.close(descriptor)
    return array


def peak_ratio(folder: Path, kind: str) -> float:
    """Return the peak memory of a read in a new process, above that after its imports, in arrays."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", PEAK, str(folder), kind],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return int(done.stdout) / (SLICES * 512 * 512 * np.dtype(kind).itemsize)


def frames_of(folder: Path) -> list[bytes]:
    """Return the compressed frames of a folder."""
    return [next(generate_frames(pydicom.dcmread(path).PixelData)) for path in folder.iterdir()]


def native_bounds(folder: Path, rounds: int) -> tuple[list[Bound], dict[str, float]]:
    """Measure lepton beside the floor; return the bounds, and all seconds."""
    write_volume(folder / "ct", SLICES)
    database = folder / "index.sqlite"
    series = scan([folder / "ct"], database=database).series[0]
    places = [(one.file, one.pixels.offset) for one in series.headers if one.pixels]
    works = {
        "floor": partial(floor, places),
        "lepton, int16": partial(lepton, folder / "ct", None),
        "lepton, float32": partial(lepton, folder / "ct", np.float32),
        "lepton, int16, index there": partial(lepton, folder / "ct", None, database),
        "lepton, float32, index there": partial(lepton, folder / "ct", np.float32, database),
        "lepton, folder and headers alone": partial(scan, [folder / "ct"]),
    }
    taken = cpu_of_each(works, rounds)
    bounds = [
        Bound("CPU of int16 in floors, headers and checks included", taken["lepton, int16"], 1.7),
        Bound("CPU of float32 in floors, headers and checks included", taken["lepton, float32"], 3.0),
    ]
    scaled = [Bound(one.what, one.found / taken["floor"], one.bound) for one in bounds]
    peaks = [
        Bound(f"peak memory of {kind} in arrays", peak_ratio(folder / "ct", kind), 1.15)
        for kind in ("int16", "float32")
    ]
    return [*scaled, *peaks], taken


def compressed_bounds(folder: Path, rounds: int) -> list[Bound]:
    """Measure lepton beside the decoder alone, both on one core.

    lepton decodes in a child, which takes turns with its parent; on two cores each frame crosses from one
    cache to the other, which is no work of either.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    bounds = []
    for name, (syntax, decode) in DECODERS.items():
        place = folder / name
        write_volume(place, SLICES // 2, syntax=syntax)
        frames = frames_of(place)
        works = {
            "decoder": lambda frames=frames, decode=decode: [decode(one) for one in frames],
            "lepton": partial(lepton, place, None),
        }
        taken = cpu_of_each(works, rounds)
        bounds.append(Bound(f"CPU of {name} in decoders alone", taken["lepton"] / taken["decoder"], 1.3))
    return bounds


def main() -> None:
    """Measure, print the table; exit with 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument(
        "--peers", type=Path, help="where the peers' environment is kept (the user's cache)"
    )
    arguments = parser.parse_args()
    python = peers_python(arguments.peers)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bounds, taken = native_bounds(folder, arguments.rounds)
        taken |= {reader: cpu_of_peer(python, reader, folder / "ct") for reader in VOLUMES}
        bounds += compressed_bounds(folder, arguments.rounds)
    ours = taken["lepton, int16"]
    bounds += [
        Bound(f"CPU of {peer} in lepton's int16", taken[peer] / ours, least, at_least=True)
        for peer, least in AT_LEAST.items()
    ]
    print(f"CT, 512 x 512 x {SLICES}, int16, one file a slice, page cache warm")  # noqa: T201 - a program
    print(f"{'reader':42} {'CPU ms':>8} {'/ floor':>8} {'/ lepton int16':>15} {'float32':>8}")  # noqa: T201
    for reader, seconds in taken.items():
        ratios = [seconds / taken[one] for one in ("floor", "lepton, int16", "lepton, float32")]
        print(f"{reader:42} {seconds * 1e3:8.1f} {ratios[0]:8.2f} {ratios[1]:15.2f} {ratios[2]:8.2f}")  # noqa: T201
    print()  # noqa: T201
    judge(bounds)


if __name__ == "__main__":
    main()
