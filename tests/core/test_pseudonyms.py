import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_monai.core.errors import ConfigError, MachineError
from lepton_monai.core.pseudonyms import SALT_BYTES, Pseudonyms, load_pseudonyms

ROOT = Path(__file__).parents[2]
NAMES = Pseudonyms(bytes(range(SALT_BYTES)))


def test_a_pseudonym_is_a_prefix_and_ten_hex_digits_that_never_change() -> None:
    """Runs and indices that exist are put side by side by these names."""
    assert NAMES.of("P", "MUELLER", "1950") == "P-b494fc9f50"
    assert NAMES.of("IM", "1.2.3") == "IM-a3fa45c890"


def test_parts_are_not_just_joined() -> None:
    assert NAMES.of("P", "ab", "c") != NAMES.of("P", "a", "bc")
    assert NAMES.of("P", "ab") != NAMES.of("P", "ab", "")


def test_another_salt_gives_another_name() -> None:
    assert Pseudonyms(bytes(SALT_BYTES)).of("P", "ab") != NAMES.of("P", "ab")


@given(st.binary(max_size=30))
def test_whatever_bytes_a_header_or_a_file_name_holds_get_a_name(content: bytes) -> None:
    assert len(NAMES.of("P", os.fsdecode(content), content.decode("latin-1"))) == 12


@pytest.mark.parametrize(
    ("modality", "prefix"), [("../../X", "X"), ("", "OT"), ("/\0", "OT"), ("C" * 99, "C" * 16)]
)
def test_a_modality_that_is_rubbish_can_not_lead_out_of_a_folder(modality: str, prefix: str) -> None:
    assert NAMES.of(modality, "1.2.3") == f"{prefix}-a3fa45c890"


def test_the_salt_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "salt"
    first = load_pseudonyms(place)
    assert len(first.salt) == SALT_BYTES
    assert len(set(first.salt)) > 8
    assert load_pseudonyms(place).salt == first.salt
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [path.name for path in place.parent.iterdir()] == ["salt"]


def test_processes_that_start_at_once_get_the_same_salt(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from lepton_monai.core.pseudonyms import load_pseudonyms\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(load_pseudonyms(Path(sys.argv[1])).salt.hex())\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "salt")]
    pipe = subprocess.PIPE
    started = [subprocess.Popen(words, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    salts = {process.communicate()[0] for process in started}
    assert salts == {(tmp_path / "salt").read_bytes().hex() + "\n"}
    assert len(list(tmp_path.iterdir())) == 1


def test_the_salt_lies_in_the_data_folder_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    salt = load_pseudonyms().salt
    assert (tmp_path / "lepton_monai" / "salt").read_bytes() == salt


def test_a_file_that_is_no_salt_is_refused(tmp_path: Path) -> None:
    (tmp_path / "salt").write_bytes(b"secret")
    with pytest.raises(ConfigError, match="is no salt: 6 bytes, 32 are needed"):
        load_pseudonyms(tmp_path / "salt")


def test_a_salt_that_can_not_be_made_is_a_machine_error_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="--salt FILE"):
        load_pseudonyms(tmp_path / "file" / "salt")
