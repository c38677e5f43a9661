"""Whatever bytes a file holds, what comes back is a value, a finding or an error of ours."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from lepton_monai.core.errors import LeptonError
from lepton_monai.core.findings import RULES
from lepton_monai.dicom import read_series, scan
from lepton_monai.labels.rtstruct import read_structures
from lepton_monai.labels.seg import read_segments
from tests.phantoms import Phantom, rough_mask, tiny_ct, tiny_rtstruct, tiny_seg

SYNTAXES = {
    "explicit": "1.2.840.10008.1.2.1",
    "implicit": "1.2.840.10008.1.2",
    "big endian": "1.2.840.10008.1.2.2",
    "deflated": "1.2.840.10008.1.2.1.99",
    "RLE": "1.2.840.10008.1.2.5",
    "JPEG-LS": "1.2.840.10008.1.2.4.80",
}
VRS = [b"SQ", b"UN", b"OB", b"DS", b"US", b"FD", b"PN", b"??"]


def _mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """Flip bits, cut, lie about a length or swap a VR."""
    changed = bytearray(content)
    kind = int(generator.integers(4))
    at = int(generator.integers(132, len(changed) - 8))
    if kind == 0:
        for place in generator.integers(132, len(changed), size=int(generator.integers(1, 6))):
            changed[int(place)] ^= 1 << int(generator.integers(8))
    elif kind == 1:
        del changed[at:]
    elif kind == 2:
        lengths = [b"\0\0\0\0", b"\1\0\0\0", b"\xfe\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\x7f"]
        changed[at : at + 4] = lengths[int(generator.integers(len(lengths)))]
    else:
        changed[at : at + 2] = VRS[int(generator.integers(len(VRS)))]
    return bytes(changed)


def _attack(folder: Path, mutations: int) -> int:
    """Mutate one slice of a series again and again; return how many were still read."""
    generator = np.random.default_rng(11)
    read = 0
    for name, syntax in SYNTAXES.items():
        phantom = tiny_ct(folder / name, transfer_syntax=syntax)
        original = phantom.paths[2].read_bytes()
        for _ in range(mutations // len(SYNTAXES)):
            phantom.paths[2].write_bytes(_mutated(original, generator))
            read += _survives(phantom)
    return read


def _survives(phantom: Phantom) -> int:
    index = scan([phantom.paths[0].parent])
    read = 0
    for series in index.series:
        try:
            volume = read_series(series)
        except LeptonError:
            continue
        assert volume.array.shape == series.grid.shape
        assert np.isfinite(volume.array).all()
        read += 1
    for refused in index.refused:
        assert refused.finding.code in RULES
    return read


def test_360_mutated_slices_end_in_a_volume_or_a_named_refusal(tmp_path: Path) -> None:
    read = _attack(tmp_path, 360)
    print(f"360 mutated files, {read} volumes, 0 tracebacks")


@pytest.mark.nightly
def test_100000_mutated_slices_end_in_a_volume_or_a_named_refusal(tmp_path: Path) -> None:
    read = _attack(tmp_path, 100_000)
    print(f"100000 mutated files, {read} volumes, 0 tracebacks")


def test_120_mutated_label_objects_are_read_or_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(12)
    phantom = tiny_ct(tmp_path / "ct", shape=(16, 12, 5))
    mask = rough_mask((16, 12, 5))
    files = [
        tiny_rtstruct(tmp_path / "rs.dcm", phantom, {"GTV": mask}),
        tiny_seg(tmp_path / "seg.dcm", phantom, {"GTV": mask}),
    ]
    grid = scan([tmp_path / "ct"]).series[0].grid
    for path in files:
        original = path.read_bytes()
        for _ in range(60):
            path.write_bytes(_mutated(original, generator))
            scan([path])
            try:
                if path.name == "rs.dcm":
                    read_structures(path)
                else:
                    read_segments(path, grid)
            except LeptonError:
                continue


def test_pydicoms_own_odd_files_end_in_a_value_or_a_finding() -> None:
    folder = Path(pydicom.__file__).parent / "data" / "test_files"
    index = scan([folder])
    assert index.files > 100
    for series in index.series:
        try:
            read_series(series)
        except LeptonError:
            continue


def test_every_code_of_the_registry_is_emitted_somewhere() -> None:
    package = Path(__file__).parents[2] / "lepton_monai"
    text = "".join(
        path.read_text(encoding="utf-8") for path in package.rglob("*.py") if path.name != "findings.py"
    )
    assert [code for code in RULES if f'"{code}"' not in text] == []
