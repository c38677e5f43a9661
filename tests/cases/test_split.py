import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_monai.cases.case import Case
from lepton_monai.cases.split import SplitRule, split_cases
from lepton_monai.core.errors import ConfigError, InputError


def _cases(persons: list[str]) -> list[Case]:
    return [
        Case(f"CT-{at}", f"P-{person}", person, person, Path(f"{at}.nii"), None)
        for at, person in enumerate(persons)
    ]


def _rule(file: Path | None = None, test: float = 0.2, validation: float = 0.2, seed: int = 0) -> SplitRule:
    return SplitRule(file, test, validation, seed)


def _file(folder: Path, **sides: list[str]) -> Path:
    path = folder / "split.json"
    path.write_text(json.dumps(sides), encoding="utf-8")
    return path


@given(
    persons=st.lists(st.integers(0, 9), min_size=6, max_size=40).filter(lambda ids: len(set(ids)) > 4),
    seed=st.integers(0, 100),
)
def test_no_person_ever_stands_on_two_sides(persons: list[int], seed: int) -> None:
    cases = _cases([str(person) for person in persons])
    split = split_cases(cases, _rule(seed=seed))
    sides = [{case.person for case in split.side(side)} for side in ("train", "validation", "test")]
    assert sides[0].isdisjoint(sides[1] | sides[2])
    assert sides[1].isdisjoint(sides[2])
    assert sum(len(split.side(side)) for side in ("train", "validation", "test")) == len(cases)


def test_the_draw_depends_on_the_persons_and_not_on_their_order() -> None:
    cases = _cases([str(n) for n in range(12)])
    forward, backward = split_cases(cases, _rule()), split_cases(cases[::-1], _rule())
    assert {case.person for case in forward.test} == {case.person for case in backward.test}
    assert {case.person for case in forward.validation} == {case.person for case in backward.validation}


def test_a_share_of_validation_takes_at_least_two_patients() -> None:
    split = split_cases(_cases([str(n) for n in range(8)]), _rule(test=0.0, validation=0.01))
    assert len({case.person for case in split.validation}) == 2


def test_the_file_decides_and_validation_is_drawn_from_its_training_side(tmp_path: Path) -> None:
    file = _file(tmp_path, train=["0", "1", "2", "3"], test=["4", "5"])
    split = split_cases(_cases([str(n) for n in range(6)]), _rule(file, validation=0.5))
    assert {case.person for case in split.test} == {"4", "5"}
    assert {case.person for case in (*split.train, *split.validation)} == {"0", "1", "2", "3"}
    assert len(split.validation) == 2


def test_a_person_on_two_sides_of_the_file_is_refused(tmp_path: Path) -> None:
    cases = [
        Case("CT-1", "P-1", "first id", "one person", Path("a"), None),
        Case("CT-2", "P-1", "second id", "one person", Path("b"), None),
        Case("CT-3", "P-3", "third", "third", Path("c"), None),
    ]
    file = _file(tmp_path, train=["first id", "third"], test=["second id"])
    with pytest.raises(ConfigError, match="puts one person under `train` and under `test`"):
        split_cases(cases, _rule(file))


def test_patients_that_the_file_names_and_that_are_not_here_are_counted(tmp_path: Path) -> None:
    file = _file(tmp_path, train=["0", "nobody"], test=["1"])
    split = split_cases(_cases(["0", "1", "2"]), _rule(file, validation=0.0))
    assert {finding.code for finding in split.findings} == {"split_patient_unknown", "patient_not_in_split"}


@pytest.mark.parametrize("content", ["no json", "[1]", '{"train": [1]}', '{"tests": []}', '{"test": []}'])
def test_a_file_that_is_no_split_says_what_it_should_be(tmp_path: Path, content: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError, match="split file"):
        split_cases(_cases(["0"]), _rule(path))


def test_a_split_without_a_training_case_is_refused(tmp_path: Path) -> None:
    file = _file(tmp_path, train=["elsewhere"], test=["0"])
    with pytest.raises(InputError, match="no case to train on"):
        split_cases(_cases(["0"]), _rule(file))
