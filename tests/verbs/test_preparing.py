"""Cases that are read and prepared a few at once come out as if one after the other."""

import warnings
from pathlib import Path

import numpy as np
from pydicom.config import settings

from lepton_monai.cases.case import load_case
from lepton_monai.cases.collect import collect
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import SILENT
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.data.transforms import prepare
from lepton_monai.verbs.preparing import Cache, measured_cases, prepared_cases
from tests.plans.examples import example_plan
from tests.verbs.exports import write_config, write_export, write_patient

NAMES = Pseudonyms(b"s" * 32)


def test_every_case_is_prepared_from_its_own_voxels_in_the_order_of_the_cases(tmp_path: Path) -> None:
    write_export(tmp_path / "export")
    data = write_config(tmp_path, tmp_path / "export").data_choice()
    cases = collect(data, NAMES).cases
    findings: list[tuple[str, Finding]] = []
    measured = measured_cases(cases, data, findings, SILENT)
    assert [one.case for one in measured] == list(cases)
    preparation = example_plan().preparation
    prepared = prepared_cases(measured, data, preparation, Cache(tmp_path / "cache"), SILENT)
    assert list(prepared) == [case.pseudonym for case in cases]
    for case in cases:
        loaded = load_case(case, data.label.labels, empty_is_negative=False)
        assert not isinstance(loaded, Finding)
        alone = prepare(loaded.volume, loaded.mask, preparation)
        np.testing.assert_array_equal(
            prepared[case.pseudonym].image, alone.image.numpy().astype(np.float16)
        )


def test_a_case_that_cant_be_read_is_told_and_the_others_are_measured(tmp_path: Path) -> None:
    write_export(tmp_path / "export")
    write_patient(tmp_path / "export", 90)
    data = write_config(tmp_path, tmp_path / "export").data_choice()
    cases = collect(data, NAMES).cases
    hurt = cases[1]
    assert not isinstance(hurt.image, Path)
    for header in hurt.image.headers:
        file = Path(header.file)
        file.write_bytes(file.read_bytes()[:-64])
    findings: list[tuple[str, Finding]] = []
    measured = measured_cases(cases, data, findings, SILENT)
    assert [one.case for one in measured] == [case for case in cases if case is not hurt]
    assert [name for name, _ in findings] == [hurt.pseudonym]


def test_reading_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    write_export(tmp_path / "export")
    data = write_config(tmp_path, tmp_path / "export").data_choice()
    cases = collect(data, NAMES).cases
    before = settings.reading_validation_mode, list(warnings.filters)
    measured_cases(cases * 4, data, [], SILENT)
    assert (settings.reading_validation_mode, list(warnings.filters)) == before
