import pytest

from lepton_monai.core.patterns import matches


@pytest.mark.parametrize(
    ("name", "pattern", "expected"),
    [
        ("GTV_Mass_PET", "gtv*", True),
        ("GTV [boost]", "GTV [boost]", True),
        ("GTV b", "GTV [boost]", False),
        ("PTV1", "PTV?", True),
        ("PTV12", "PTV?", False),
        ("Thorax", "*thin*", False),
    ],
)
def test_stars_and_question_marks_stand_for_letters_and_brackets_for_themselves(
    name: str, pattern: str, expected: bool
) -> None:
    assert matches(name, pattern) is expected
