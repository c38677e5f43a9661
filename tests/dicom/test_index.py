"""The index is a cache: it knows what is unchanged, notices what isn't, and is no loss when it is gone."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lepton_monai.core.errors import InputError
from lepton_monai.dicom import Index, read_series, scan
from tests.dicom.changed import change
from tests.phantoms import tiny_ct, tiny_mr, tiny_rtstruct

CHECKOUT = Path(__file__).parents[2]


def write_tree(root: Path) -> None:
    """Write two series, a label, and a file that is none."""
    phantom = tiny_ct(root / "a" / "ct")
    tiny_mr(root / "b" / "mr", shape=(5, 4, 6))
    tiny_rtstruct(root / "a" / "rs.dcm", phantom)
    (root / "notes.txt").write_text("nothing", encoding="utf-8")


def content(index: Index) -> tuple[object, ...]:
    """Return all that an index says."""
    series = [
        (one.identity, one.grid.affine.tolist(), one.findings, tuple(one.headers)) for one in index.series
    ]
    refused = [(one.identity, one.finding, tuple(one.headers)) for one in index.refused]
    return series, refused, index.annotations, index.others, index.findings, index.files


def test_an_unchanged_tree_is_told_again_without_opening_a_file(tmp_path: Path) -> None:
    root, database = tmp_path / "export", tmp_path / "index.sqlite"
    write_tree(root)
    first = scan([root], database=database)
    files = [path for path in root.rglob("*") if path.is_file()]
    for path in files:  # same size, same time, same inode: whoever opened one would find rubbish
        state = path.stat()
        with path.open("r+b") as file:
            file.write(b"\0" * state.st_size)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert content(scan([root], database=database)) == content(first)
    assert content(scan([root])) != content(first)


def test_what_was_changed_added_or_removed_is_seen(tmp_path: Path) -> None:
    root, database = tmp_path / "export", tmp_path / "index.sqlite"
    write_tree(root)
    scan([root], database=database)
    slices = sorted((root / "a" / "ct").iterdir())
    slices[3].unlink()
    change(sorted((root / "b" / "mr").iterdir())[0], SeriesDescription="CHANGED")
    tiny_ct(root / "c", shape=(4, 4, 4), description="ADDED")
    again, anew = scan([root], database=database), scan([root])
    assert content(again) == content(anew)
    assert [one.finding.code for one in again.refused] == ["missing_slice"]
    slices[2].rename(root / "moved-away")
    assert content(scan([root], database=database)) == content(scan([root]))


def test_a_file_that_was_swapped_for_another_of_its_size_and_time_is_seen(tmp_path: Path) -> None:
    """The inode tells: a copy with its times kept has another."""
    root, database = tmp_path / "export", tmp_path / "index.sqlite"
    one = tiny_ct(root).paths[2]
    scan([root], database=database)
    other = tmp_path / "other"
    values = bytearray(one.read_bytes())
    values[-2:] = b"\x39\x05"
    other.write_bytes(values)
    state = one.stat()
    os.utime(other, ns=(state.st_atime_ns, state.st_mtime_ns))
    expected = read_series(scan([root]).series[0]).array.copy()
    other.replace(one)
    found = read_series(scan([root], database=database).series[0]).array
    assert (found != expected).sum() == 1


def test_the_index_is_its_owners_alone_and_deleting_it_costs_time_only(tmp_path: Path) -> None:
    root, database = tmp_path / "export", tmp_path / "index.sqlite"
    write_tree(root)
    first = scan([root], database=database)
    assert stat.S_IMODE(database.stat().st_mode) == 0o600
    database.unlink()
    assert content(scan([root], database=database)) == content(first)


@pytest.mark.parametrize("at", [0, 100, 4096, 3 * 4096, 5 * 4096 + 700])
def test_a_damaged_index_is_made_anew(tmp_path: Path, at: int) -> None:
    root, database = tmp_path / "export", tmp_path / "index.sqlite"
    write_tree(root)
    first = scan([root], database=database)
    damaged = bytearray(database.read_bytes())
    damaged[at : at + 3 * 4096] = np.random.default_rng(1).bytes(len(damaged[at : at + 3 * 4096]))
    database.write_bytes(damaged)
    assert content(scan([root], database=database)) == content(first)
    assert content(scan([root], database=database)) == content(first)


def test_an_index_of_an_older_version_is_made_anew(tmp_path: Path) -> None:
    root, database = tmp_path / "export", tmp_path / "index.sqlite"
    write_tree(root)
    first = scan([root], database=database)
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 1")
        connection.execute("DELETE FROM files")
    connection.close()
    assert content(scan([root], database=database)) == content(first)


def test_two_indexers_at_once_do_no_harm(tmp_path: Path) -> None:
    root, database = tmp_path / "export", tmp_path / "index.sqlite"
    for number in range(6):
        tiny_ct(root / str(number), description=f"SERIES {number}")
    code = (
        "import sys; from pathlib import Path; from lepton_monai.dicom import scan;"
        "print(len(scan([Path(sys.argv[1])], database=Path(sys.argv[2])).series))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(root), str(database)], cwd=CHECKOUT, stdout=subprocess.PIPE
        )
        for _ in range(3)
    ]
    told = [process.communicate()[0].strip() for process in started]
    assert told == [b"6"] * 3
    assert content(scan([root], database=database)) == content(scan([root]))


def test_an_index_of_other_folders_forgets_the_first_ones(tmp_path: Path) -> None:
    database = tmp_path / "index.sqlite"
    for name in ("one", "two"):
        tiny_ct(tmp_path / name, description=name)
    scan([tmp_path / "one"], database=database)
    assert content(scan([tmp_path / "two"], database=database)) == content(scan([tmp_path / "two"]))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        scan([tmp_path / "nowhere"])
