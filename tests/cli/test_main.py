"""The command line as a user meets it: real processes for what a process does, else `run`."""

import json
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest

from lepton_monai.cli.main import run
from tests.cli.test_terminal import Terminal
from tests.verbs.exports import CONFIG, write_export, write_patient


@pytest.fixture
def salt(tmp_path: Path) -> str:
    path = tmp_path / "salt"
    path.write_bytes(b"s" * 32)
    return str(path)


def _config(folder: Path, root: Path) -> str:
    path = folder / "task.yaml"
    path.write_text(CONFIG.format(root=root), encoding="utf-8")
    return str(path)


def test_index_prints_a_table_its_sum_and_every_finding(
    tmp_path: Path, salt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    who = write_patient(tmp_path / "export", 1)
    write_patient(tmp_path / "export", 2, label=False)
    (tmp_path / "export" / who.patient_id / "ct" / "IM0007").unlink()
    assert run(["index", str(tmp_path / "export"), "--salt", salt, "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "refused: missing_slice" in out
    assert "28 files: 1 volume of 2 patients, 1 refused series, 1 RTSTRUCT" in out
    line = next(line for line in out.splitlines() if line.startswith("refused missing_slice"))
    assert f"({who.patient_id}/ct/IM0006)" in line
    assert "1 of 14 slices are missing, the first near z = 58.0 mm" in line
    assert line.endswith("again; `lepton convert --fill-gaps` leaves the gap empty.")


def test_index_of_nifti_files_says_what_to_do_with_them(
    tmp_path: Path, salt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "case.nii.gz").write_bytes(b"no DICOM")
    assert run(["index", str(tmp_path / "images"), "--salt", salt, "--quiet"]) == 0
    assert "NIfTI files need no index: name their folders in a config" in capsys.readouterr().out


def test_labels_that_are_there_instead_are_told_on_a_terminal_alone(
    tmp_path: Path, salt: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_patient(tmp_path / "export", 1, roi="Bal")
    command = ["check", _config(tmp_path, tmp_path / "export"), "--salt", salt, "--quiet"]
    for stream, told in ((Terminal(), True), (StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        assert run(command) == 3
        assert ("There: `Bal`." in stream.getvalue()) is told


def test_json_is_one_document_and_nothing_else(
    tmp_path: Path, salt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_export(tmp_path / "export", 2)
    assert run(["index", str(tmp_path / "export"), "--salt", salt, "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["series"]) == 2
    assert captured.err == ""


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["index", "{empty}"], 0, "0 files: 0 volumes"),
        (["index", "{nowhere}"], 3, "doesn't exist"),
        (["check", "{config}"], 3, "holds no usable DICOM series among 0 files"),
        (["train", "{config}", "--run", "{run}"], 3, "holds no usable DICOM series"),
        (["train", "{config}", "--run", "{run}", "--device", "gpux"], 2, "Unknown device `gpux`"),
        (["train", "{config}", "--run", "{run}", "--device", "cuda:99"], 5, "no device `cuda:99`"),
        (["train", "{config}", "--run", "{run}", "--set", "trian.minutes=1"], 2, "nearest is `train`"),
        (["train", "{config}", "--run", "{others}"], 2, "was not made by `lepton train`"),
        (["train", "{nowhere}", "--run", "{run}"], 2, "can't be read"),
        (["evaluate", "{empty}"], 3, "is no run"),
        (["predict", "{empty}", "{empty}", "--out", "{run}"], 3, "is no run"),
        (["index"], 2, "Missing argument"),
        (["devour"], 2, "No such command"),
        (["index", "{empty}", "--salt", "{short}"], 2, "is no salt"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_plain_message_with_its_code(
    tmp_path: Path, salt: str, capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, said: str
) -> None:
    places = {name: tmp_path / name for name in ("empty", "nowhere", "run", "others", "short")}
    places["empty"].mkdir()
    places["others"].mkdir()
    (places["others"] / "thesis.txt").write_text("mine", encoding="utf-8")
    places["short"].write_bytes(b"x")
    places["config"] = Path(_config(tmp_path, places["empty"]))
    given = [one.format(**places) for one in arguments]
    if arguments[0] not in {"devour"} and "--salt" not in arguments and len(arguments) > 1:
        given += ["--salt", salt]
    assert run(given) == code
    captured = capfd.readouterr()
    assert said in captured.out + captured.err
    assert "Traceback" not in captured.out + captured.err


def test_a_folder_whose_only_series_is_refused_says_why(
    tmp_path: Path, salt: str, capfd: pytest.CaptureFixture[str]
) -> None:
    who = write_patient(tmp_path / "export", 1)
    (tmp_path / "export" / who.patient_id / "ct" / "IM0007").unlink()
    config = _config(tmp_path, tmp_path / "export")
    assert run(["train", config, "--run", str(tmp_path / "run"), "--salt", salt]) == 3
    assert "no usable DICOM series among 14 files: missing_slice" in capfd.readouterr().err


def test_every_verb_explains_itself(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    said = capfd.readouterr().out
    assert "No medical device" in said
    for verb in ("index", "check", "train", "evaluate", "predict"):
        assert verb in said
        assert run([verb, "--help"]) == 0
        assert "--json" in capfd.readouterr().out


def test_index_runs_in_a_process_without_torch(tmp_path: Path, salt: str) -> None:
    write_export(tmp_path / "export", 1)
    code = (
        "import sys; from lepton_monai.cli.main import run;"
        "code = run(sys.argv[1:]);"
        "heavy = {'torch', 'monai', 'SimpleITK'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else code)"
    )
    arguments = ["index", str(tmp_path / "export"), "--salt", salt]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_defect_of_ours_is_said_without_what_a_file_holds(
    tmp_path: Path, salt: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def broken(*_: object, **__: object) -> None:
        message = "CANARY^PATIENT"
        raise ZeroDivisionError(message)

    monkeypatch.setattr("lepton_monai.verbs.index.scan", broken)
    assert run(["index", str(tmp_path), "--salt", salt]) == 1
    said = capfd.readouterr().err
    (trace,) = tmp_path.glob("lepton-*.txt")
    assert str(trace) in said
    assert "ZeroDivisionError" in trace.read_text(encoding="utf-8")
    assert "CANARY" not in said + trace.read_text(encoding="utf-8")


def test_control_characters_of_a_file_name_never_reach_the_terminal(
    tmp_path: Path, salt: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "bad\x1b[2Jname").write_bytes(b"no dicom at all")
    os.close(os.open(os.fsencode(tmp_path / "export") + b"/\xff\xfe", os.O_CREAT | os.O_WRONLY))
    assert run(["index", str(tmp_path / "export"), "--salt", salt]) == 0
    assert "\x1b" not in capfd.readouterr().out


def test_a_training_wants_a_folder_and_a_plan_to_look_at_wants_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["train", str(tmp_path / "task.yaml")]) == 2
    assert "--run is missing: name the folder to make" in capsys.readouterr().err
    assert run(["train", str(tmp_path / "task.yaml"), "--dry-run"]) == 2
    assert "can't be read" in capsys.readouterr().err
