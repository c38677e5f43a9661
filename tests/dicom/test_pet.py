"""SUV by body weight against a computation by hand."""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from lepton_monai.dicom import read_series
from tests.dicom.changed import change, codes, the_series, the_volume
from tests.phantoms import Dose, Phantom, tiny_pet


def _isotope(phantom: Phantom, **values: object) -> None:
    for path in phantom.paths:
        dataset = pydicom.dcmread(path)
        item = dataset.RadiopharmaceuticalInformationSequence[0]
        for keyword, value in values.items():
            if value is None:
                del item[keyword]
            else:
                setattr(item, keyword, value)
        dataset.save_as(path)


def _change_all(phantom: Phantom, **values: object) -> None:
    for path in phantom.paths:
        change(path, **values)


def test_suv_is_weight_over_the_dose_that_is_left_at_the_start(tmp_path: Path) -> None:
    dose = Dose(weight_kg=71.5, activity_bq=3.7e8, half_life_s=6586.2, injected="091500", scanned="101500")
    phantom = tiny_pet(tmp_path, dose=dose)
    volume = the_volume(tmp_path)
    assert volume.unit == "SUVbw"
    # One hour of 18F: 3.7e8 * 2 ** (-3600 / 6586.2) = 2.533e8 Bq are left.
    factor = 71_500 / (3.7e8 * 2 ** (-3600 / 6586.2))
    assert dose.suv_per_bq_ml == pytest.approx(factor, rel=1e-12)
    np.testing.assert_allclose(volume.array, phantom.values * factor, rtol=1e-6)
    assert "suv_computed" in codes(volume)


def test_a_dose_corrected_to_the_injection_does_not_decay(tmp_path: Path) -> None:
    dose = Dose()
    phantom = tiny_pet(tmp_path, dose=dose)
    _change_all(phantom, DecayCorrection="ADMIN")
    factor = dose.weight_kg * 1000 / dose.activity_bq
    np.testing.assert_allclose(the_volume(tmp_path).array, phantom.values * factor, rtol=1e-6)


def test_an_injection_before_midnight_is_on_the_day_before(tmp_path: Path) -> None:
    dose = Dose(injected="233000", scanned="003000")
    phantom = tiny_pet(tmp_path, dose=dose)
    _isotope(phantom, RadiopharmaceuticalStartDateTime=None)  # a time without its date
    volume = the_volume(tmp_path)
    factor = dose.weight_kg * 1000 / (dose.activity_bq * 2 ** (-3600 / dose.half_life_s))
    np.testing.assert_allclose(volume.array, phantom.values * factor, rtol=1e-6)
    assert "suv_midnight_assumed" in codes(volume)


@pytest.mark.parametrize("keyword", ["RadionuclideTotalDose", "RadionuclideHalfLife"])
def test_a_missing_input_of_the_isotope_keeps_the_activity(tmp_path: Path, keyword: str) -> None:
    phantom = tiny_pet(tmp_path, dose=Dose())
    _isotope(phantom, **{keyword: None})
    volume = the_volume(tmp_path)
    assert volume.unit == "Bq/ml"
    assert "suv_inputs_missing" in codes(volume)
    np.testing.assert_allclose(volume.array, phantom.values, rtol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [{"PatientWeight": None}, {"PatientWeight": 0}, {"DecayCorrection": "NONE"}, {"SeriesTime": "235900"}],
    ids=str,
)
def test_what_can_not_be_computed_stays_an_activity(tmp_path: Path, changes: dict[str, object]) -> None:
    """A series time after the acquisition is that of a derived series: no reference for the decay."""
    phantom = tiny_pet(tmp_path, dose=Dose())
    _change_all(phantom, AcquisitionDate="20240102", AcquisitionTime="101500", **changes)
    volume = the_volume(tmp_path)
    assert volume.unit == "Bq/ml"
    assert "suv_inputs_missing" in codes(volume)


@pytest.mark.parametrize(
    ("suv_type", "unit", "code"),
    [
        ("BW", "SUVbw", "suv_given"),
        ("LBM", "SUVlbm", "suv_given"),
        ("BSA", "SUVbsa", "suv_given"),
        ("IBW", "1", "suv_unit_unsupported"),
    ],
)
def test_values_that_are_suv_already_keep_their_kind(
    tmp_path: Path, suv_type: str, unit: str, code: str
) -> None:
    phantom = tiny_pet(tmp_path)
    _change_all(phantom, SUVType=suv_type)
    series = the_series(tmp_path)
    assert series.unit == unit
    assert code in codes(series)
    np.testing.assert_allclose(read_series(series).array, phantom.values, rtol=1e-6)


def test_counts_without_the_vendors_factor_are_no_suv(tmp_path: Path) -> None:
    phantom = tiny_pet(tmp_path, dose=Dose())
    _change_all(phantom, Units="CNTS")
    series = the_series(tmp_path)
    assert series.unit == "1"
    assert "suv_unit_unsupported" in codes(series)
