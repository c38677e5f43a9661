from pathlib import Path

import pytest

from lepton_monai.core import errors
from lepton_monai.core.errors import LeptonError, SeriesRefused
from lepton_monai.core.findings import RULES, Finding

PACKAGE = Path(__file__).parents[2] / "lepton_monai"


def test_every_code_is_emitted_somewhere() -> None:
    """A code that nothing emits is a promise that nothing keeps."""
    sources = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "findings.py"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    assert [code for code in RULES if f'"{code}"' not in text] == []


def test_a_code_outside_of_the_registry_can_not_be_used() -> None:
    with pytest.raises(KeyError, match="missing_slcie"):
        Finding("missing_slcie", "One slice is missing.")


def test_a_refusal_says_what_to_do() -> None:
    assert [code for code, rule in RULES.items() if rule.severity == "refused" and not rule.advice] == []


def test_what_is_refused_is_never_used() -> None:
    assert {rule.action for rule in RULES.values() if rule.severity == "refused"} == {"left_out"}


def test_a_sentence_is_the_message_and_the_advice() -> None:
    finding = Finding("missing_slice", "1 of 20 slices is missing.")
    advice = "Export the whole series again; `lepton convert --fill-gaps` leaves the gap empty."
    assert finding.sentence() == f"1 of 20 slices is missing. {advice}"
    assert Finding("two_slices", "The series is two slices.").sentence() == "The series is two slices."
    assert str(SeriesRefused(finding)) == f"missing_slice: {finding.sentence()}"
    assert (finding.severity, finding.action) == ("refused", "left_out")


def test_every_error_of_ours_ends_with_the_code_of_its_branch() -> None:
    codes = {
        name: one.exit_code
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, LeptonError)
    }
    assert codes == {
        "LeptonError": 1,
        "ConfigError": 2,
        "OutputFolderError": 2,
        "InputError": 3,
        "GeometryError": 3,
        "LabelError": 3,
        "ObjectError": 3,
        "WeightsError": 3,
        "FileRefused": 3,
        "SeriesRefused": 3,
        "PartlyDoneError": 4,
        "MachineError": 5,
        "DeviceError": 5,
        "LockedError": 5,
        "StoppedError": 128,
    }
    assert errors.StoppedError("", 15).exit_code == 143
