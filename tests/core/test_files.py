import json
import os
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from lepton_monai.core.errors import LockedError, MachineError, OutputFolderError
from lepton_monai.core.files import (
    MARKER,
    claim_folder,
    digest_of,
    locked,
    replacing,
    write_bytes,
    write_json,
    write_text,
)

ROOT = Path(__file__).parents[2]

IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
not_as_root = pytest.mark.skipif(IS_ROOT, reason="root may read and write everything")


def run(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python code in another process, with the package at hand."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)


def dead_process() -> int:
    """Return the number of a process that has ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ------------------------------------------------------------------------------- one file
def test_a_written_file_holds_what_was_given_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new" / "file", b"one")
    write_bytes(tmp_path / "new" / "file", b"two")
    assert (tmp_path / "new" / "file").read_bytes() == b"two"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file"]


def test_an_error_on_the_way_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with suppress(ZeroDivisionError), replacing(tmp_path / "file") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert (tmp_path / "file").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_process_that_dies_on_the_way_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    code = (
        "import os, sys; from pathlib import Path; from lepton_monai.core.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half'); os._exit(9)\n"
    )
    assert run(code, tmp_path / "file").returncode == 9
    assert (tmp_path / "file").read_text() == "old"
    assert len(list(tmp_path.glob(".lepton-*"))) == 1


def test_the_key_file_is_readable_by_its_owner_alone_from_the_first_byte(tmp_path: Path) -> None:
    with replacing(tmp_path / "key.json", 0o600) as temporary:
        assert mode_of(temporary) == 0o600
        temporary.write_text("{}")
    assert mode_of(tmp_path / "key.json") == 0o600
    (tmp_path / "open").touch(0o644)
    write_json(tmp_path / "open", {}, 0o600)
    assert mode_of(tmp_path / "open") == 0o600


def test_a_file_without_a_mode_is_made_by_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "")
    finally:
        os.umask(before)
    assert mode_of(tmp_path / "file") == 0o640


def test_a_path_below_a_file_is_a_machine_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match=r"file/child can't be written"):
        write_text(tmp_path / "file" / "child", "x")


@not_as_root
def test_a_folder_that_is_read_only_is_a_machine_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(MachineError, match="can't be written: Permission denied"):
        write_text(tmp_path / "file", "x")


def test_a_full_disk_leaves_the_old_file_and_is_a_machine_error(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from lepton_monai.core.errors import MachineError\n"
        "from lepton_monai.core.files import write_bytes\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_bytes(Path(sys.argv[1]), bytes(5000))\n"
        "except MachineError as error: print(error)\n"
    )
    assert "file can't be written: File too large." in run(code, tmp_path / "file").stdout
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_nan_is_written_as_null(tmp_path: Path) -> None:
    write_json(
        tmp_path / "file", {"a": float("nan"), "b": [1.5, (float("nan"),)], "c": {"d": float("nan")}}
    )
    expected = {"a": None, "b": [1.5, [None]], "c": {"d": None}}
    assert json.loads((tmp_path / "file").read_text()) == expected


def test_infinity_is_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "file", {"a": float("inf")})
    assert not (tmp_path / "file").exists()


def test_a_name_that_is_not_utf_8_comes_back_from_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"sl\xffice")
    write_json(tmp_path / "file", {"name": name, "word": "Größe"})
    back = json.loads((tmp_path / "file").read_text(encoding="utf-8"))
    assert (back["name"], back["word"]) == (name, "Größe")


def test_a_digest_is_sha_256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert digest_of(tmp_path / "file").startswith("ba7816bf8f01cfea")


# ------------------------------------------------------------------------------- a folder
def test_a_folder_is_claimed_by_its_verb_again_and_again(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    claim_folder(folder, "train")
    (folder / "checkpoint").touch()
    claim_folder(folder, "train")
    assert json.loads((folder / MARKER).read_text())["made_by"] == "train"


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    claim_folder(tmp_path, "train")
    assert (tmp_path / MARKER).exists()


def test_the_folder_of_another_verb_is_refused(tmp_path: Path) -> None:
    claim_folder(tmp_path, "train")
    with pytest.raises(OutputFolderError, match="made by `lepton train`"):
        claim_folder(tmp_path, "predict")


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"made_by"', "null", "\0\xff"])
def test_a_marker_that_says_nothing_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / MARKER).write_text(content, encoding="latin-1")
    with pytest.raises(OutputFolderError, match="an unknown hand"):
        claim_folder(tmp_path, "train")


def test_a_foreign_folder_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(OutputFolderError, match="Nothing is ever written into a folder that isn't ours"):
        claim_folder(tmp_path, "train")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(OutputFolderError, match="is a file"):
        claim_folder(tmp_path / "out", "train")


@not_as_root
def test_a_folder_that_can_not_be_listed_is_a_machine_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o300)
    with pytest.raises(MachineError, match="can't be read: Permission denied"):
        claim_folder(tmp_path, "train")


def test_leftovers_of_a_dead_process_are_cleared_and_only_ours(tmp_path: Path) -> None:
    claim_folder(tmp_path, "train")
    dead, alive = dead_process(), os.getpid()
    kept = [
        f".lepton-{alive}-0123abcd-index.json",  # at work
        f".lepton-{dead}-0123-short.json",
        f".lepton-{dead}.json",
        f"lepton-{dead}-0123abcd-file",
        ".leptonade",
    ]
    for name in [*kept, f".lepton-{dead}-0123abcd-index.json"]:
        (tmp_path / name).write_text(name)
    below = tmp_path / "case" / f".lepton-{dead}-ffffffff-mask.nii.gz"
    below.parent.mkdir()
    below.touch()
    claim_folder(tmp_path, "train")
    left = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert left == sorted([*kept, MARKER])


def test_a_start_that_was_killed_before_its_marker_stood_does_not_lock_us_out(tmp_path: Path) -> None:
    (tmp_path / f".lepton-{dead_process()}-0123abcd-{MARKER}").touch()
    claim_folder(tmp_path, "train")
    assert [path.name for path in tmp_path.iterdir()] == [MARKER]


# ------------------------------------------------------------------------------- the lock
def test_a_folder_that_another_process_holds_is_refused_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lepton_monai.core.files import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    holder = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    start = time.monotonic()
    with pytest.raises(LockedError, match="Another process is at work") as caught, locked(tmp_path):
        pass
    assert time.monotonic() - start < 1
    assert caught.value.exit_code == 5
    holder.kill()  # a lock dies with its process
    holder.communicate()
    with locked(tmp_path):
        pass


def test_a_folder_is_free_again_after_an_error(tmp_path: Path) -> None:
    with suppress(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass


def test_a_lock_that_can_not_be_made_is_a_machine_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="can't be locked"), locked(tmp_path / "file"):
        pass
