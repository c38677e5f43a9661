"""`lepton convert` as a person meets it: one plain message, its code, and nobody's name."""

import gzip
import json
from pathlib import Path

import filelock
import pytest

from lepton_monai.cli.main import run
from sample_data.dicom_files import identity
from tests.phantoms import tiny_ct
from tests.verbs.test_privacy import CANARIES


@pytest.fixture
def salt(tmp_path: Path) -> str:
    path = tmp_path / "salt"
    path.write_bytes(b"s" * 32)
    return str(path)


def _refused(folder: Path) -> None:
    tiny_ct(folder, who=identity("with a gap")).paths[2].unlink()


def test_a_table_says_what_was_written_and_the_last_line_where_it_is(
    tmp_path: Path, salt: str, capfd: pytest.CaptureFixture[str]
) -> None:
    tiny_ct(tmp_path / "in")
    out = tmp_path / "out"
    assert run(["convert", str(tmp_path / "in"), "--out", str(out), "--salt", salt, "--quiet"]) == 0
    captured = capfd.readouterr()
    assert "7 x 6 x 5  0.90 x 1.30 x 2.70  HU" in captured.out
    last = captured.out.splitlines()[-1]
    assert last.startswith(f"1 image written; 0 series left out. They are in {out};")
    assert captured.err == ""


def test_a_series_that_makes_no_volume_is_named_and_the_rest_is_written(
    tmp_path: Path, salt: str, capfd: pytest.CaptureFixture[str]
) -> None:
    tiny_ct(tmp_path / "in" / "whole", who=identity("whole"))
    _refused(tmp_path / "in" / "gap")
    command = ["convert", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--salt", salt]
    assert run([*command, "--json"]) == 4
    captured = capfd.readouterr()
    document = json.loads(captured.out)
    assert len(document["images"]) == 1
    assert [one["code"] for one in document["left_out"]] == ["missing_slice"]
    name = document["left_out"][0]["where"]
    assert captured.err == f"lepton: No volume can be made of 1 series: {name}. The rest is written.\n"
    assert run([*command, "--fill-gaps", "--resume"]) == 2
    assert "made with other options" in capfd.readouterr().err
    command[3] = str(tmp_path / "filled")
    assert run([*command, "--fill-gaps"]) == 0
    assert "gap_filled" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("places", "code", "said"),
    [
        (("nowhere", "out"), 3, "doesn't exist"),
        (("empty", "out"), 3, "There is no DICOM image among 0 files."),
        (("texts", "out"), 3, "There is no DICOM image among 1 file."),
        (("gap", "out"), 3, "No series makes a volume. missing_slice: 1 of 5 slices are missing"),
        (("whole", "texts"), 2, "was not made by `lepton convert`"),
        (("whole", "texts/thesis.txt"), 2, "is a file"),
        (("whole", "held"), 5, "Another process is at work"),
    ],
)
def test_bad_input_is_one_plain_message_with_its_code(
    tmp_path: Path,
    salt: str,
    capfd: pytest.CaptureFixture[str],
    places: tuple[str, str],
    code: int,
    said: str,
) -> None:
    source, out = places
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "thesis.txt").write_text("mine", encoding="utf-8")
    tiny_ct(tmp_path / "whole")
    _refused(tmp_path / "gap")
    command = ["convert", str(tmp_path / source), "--out", str(tmp_path / out), "--salt", salt]
    if out == "held":
        assert run(command) == 0
        with filelock.FileLock(tmp_path / "held" / ".lock"):
            assert run([*command, "--resume"]) == code
    else:
        assert run(command) == code
    message = capfd.readouterr().err
    assert said in message
    assert len(message.splitlines()) == 1
    assert (tmp_path / "texts" / "thesis.txt").read_text(encoding="utf-8") == "mine"


def test_no_canary_is_in_what_is_printed_or_written(
    tmp_path: Path, salt: str, capfd: pytest.CaptureFixture[str]
) -> None:
    canaries: dict[str, object] = {
        keyword: value
        for keyword, value in CANARIES.items()
        if keyword != "private" and not keyword.endswith("Sequence")
    }
    who = identity("canary", patient_id="CANARYID7", patient_name="CANARYNAME^ANNA")
    tiny_ct(tmp_path / "CANARYFOLDER", who=who, extra=canaries)
    other = identity("other", patient_id="CANARYID8", patient_name="CANARYNAME^ANNA")
    tiny_ct(tmp_path / "CANARYFOLDER" / "gap", who=other, extra=canaries).paths[1].unlink()
    out = tmp_path / "out"
    command = ["convert", str(tmp_path / "CANARYFOLDER"), "--out", str(out), "--salt", salt, "--json"]
    assert run([*command, "--regularise"]) == 4
    printed = "".join(capfd.readouterr()).encode()
    written = {path.name: path.read_bytes() for path in out.iterdir() if path.name != "key.json"}
    written |= {f"{name} inflated": gzip.decompress(one) for name, one in written.items() if ".gz" in name}
    words = [str(value).split("^")[0].encode() for value in (*canaries.values(), "CANARY")]
    found = [(name, word) for name, one in written.items() for word in words if word in one]
    found += [("stdout or stderr", word) for word in words if word in printed]
    found += [(name, b"path") for name in written if "CANARY" in name]
    print(f"{len(words)} canaries, {len(written)} files, {len(found)} found")
    assert found == []
    assert "CANARYID" in (out / "key.json").read_text(encoding="utf-8")
