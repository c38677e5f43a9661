"""What dciodvfy of dicom3tools says of the objects that we write, where it is installed."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lepton_monai.exports.formats import FILES, write_objects
from tests.dicom.catalogue import CATALOGUE
from tests.exports.test_rtstruct import only_series, prediction_of
from tests.phantoms import tiny_ct, tiny_mr

OBJECTS = ["seg", "rtstruct", "sr"]
DCIODVFY = shutil.which("dciodvfy")

pytestmark = pytest.mark.skipif(DCIODVFY is None, reason="dciodvfy isn't installed (Debian: dicom3tools)")


def _errors(path: Path) -> set[str]:
    assert DCIODVFY is not None
    done = subprocess.run([DCIODVFY, str(path)], capture_output=True, check=False)
    lines = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    return {line for line in lines if line.startswith("Error")}


@pytest.mark.parametrize("kind", ["CT", "MR", "enhanced CT, oblique"])
def test_no_object_has_an_error(tmp_path: Path, kind: str) -> None:
    writers = {"CT": tiny_ct, "MR": tiny_mr}
    if kind in writers:
        writers[kind](tmp_path / "image")
    else:
        CATALOGUE[kind].write(tmp_path / "image")
    series = only_series(tmp_path / "image")
    written, _ = write_objects(prediction_of(series), tmp_path, OBJECTS)
    assert {name: _errors(tmp_path / FILES[name]) for name in written} == {name: set() for name in OBJECTS}
