"""PET: in SUV already, in Bq/ml with all or too little that SUV needs, in counts."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pydicom.dataset import Dataset

from tests.dicom.catalogue.builders import Change, every, stack
from tests.dicom.catalogue.truth import CatalogueSeries, TrueVolume, Truth, series, used
from tests.phantoms import Dose

PHILIPS_FACTOR = 0.0003125
MISSING, COMPUTED = "suv_inputs_missing rescale_varies", "suv_computed rescale_varies"


def _isotope(**values: object) -> Change:
    """Change tags of the isotope; None removes one."""

    def change(_k: int, dataset: Dataset) -> None:
        every(**values)(0, dataset.RadiopharmaceuticalInformationSequence[0])

    return change


def _in(volume: TrueVolume, unit: str, factor: float = 1.0) -> TrueVolume:
    return replace(volume, values=volume.values * factor, unit=unit, factor=factor)


def _given(suv_type: str, unit: str, note: str, folder: Path) -> Truth:
    volume = stack(folder, every(SUVType=suv_type or None), kind="PT", unit=unit)
    return used(volume, notes=f"{note} rescale_varies")


def _computed(dose: Dose, changes: tuple[Change, ...], notes: str, factor: float, folder: Path) -> Truth:
    volume = stack(folder, *changes, kind="PT", dose=dose)
    return used(_in(volume, "SUVbw", factor), notes=notes)


def _missing(tags: Mapping[str, object], isotope: Mapping[str, object], folder: Path) -> Truth:
    volume = stack(folder, every(**tags), _isotope(**isotope), kind="PT", dose=Dose())
    return used(_in(volume, "Bq/ml"), notes=MISSING)


def _counts(factor: float | None, folder: Path) -> Truth:
    def change(_k: int, dataset: Dataset) -> None:
        if factor is not None:
            dataset.private_block(0x7053, "Philips PET Private Group", create=True).add_new(
                0, "DS", str(factor)
            )

    volume = stack(folder, change, kind="PT", extra={"Units": "CNTS"})
    if factor is None:
        return used(_in(volume, "1"), notes="suv_unit_unsupported rescale_varies")
    return used(_in(volume, "SUVbw", factor), notes=COMPUTED)


def _at_injection(dose: Dose) -> float:
    return dose.weight_kg * 1000.0 / dose.activity_bq


LATE = Dose(injected="233000", scanned="003000")
"""From half past eleven to half past midnight."""
AN_HOUR_LATER = LATE.weight_kg * 1000.0 / (LATE.activity_bq * 2.0 ** (-3600.0 / LATE.half_life_s))

PET_SERIES: tuple[CatalogueSeries, ...] = (
    series("SUV by body weight", "suv_given", _given, "BW", "SUVbw", "suv_given"),
    series("SUV without its type", "suv_given", _given, "", "SUVbw", "suv_given"),
    series("SUV by lean body mass", "suv_given", _given, "LBM", "SUVlbm", "suv_given"),
    series("SUV by body surface", "suv_given", _given, "BSA", "SUVbsa", "suv_given"),
    series("SUV of an unknown type", "suv_unit_unsupported", _given, "XYZ", "1", "suv_unit_unsupported"),
    series(
        "Bq/ml, decay to the start", "suv_computed", _computed, Dose(), (), COMPUTED, Dose().suv_per_bq_ml
    ),
    series(
        "Bq/ml, decay to the injection",
        "suv_computed",
        _computed,
        Dose(),
        (every(DecayCorrection="ADMIN"),),
        COMPUTED,
        _at_injection(Dose()),
    ),
    series(
        "Bq/ml, an injection by its time alone",
        "suv_computed",
        _computed,
        Dose(),
        (_isotope(RadiopharmaceuticalStartDateTime=None),),
        COMPUTED,
        Dose().suv_per_bq_ml,
    ),
    series(
        "Bq/ml, past midnight by the time alone",
        "suv_midnight_assumed",
        _computed,
        LATE,
        (_isotope(RadiopharmaceuticalStartDateTime=None),),
        f"{COMPUTED} suv_midnight_assumed",
        AN_HOUR_LATER,
    ),
    series(
        "Bq/ml, past midnight by the dates",
        "suv_computed",
        _computed,
        LATE,
        (_isotope(RadiopharmaceuticalStartDateTime="20240101233000"),),
        COMPUTED,
        AN_HOUR_LATER,
    ),
    *(
        series(f"Bq/ml without {name}", "suv_inputs_missing", _missing, tags, isotope)
        for name, tags, isotope in (
            ("weight", {"PatientWeight": None}, {}),
            ("a positive weight", {"PatientWeight": "0"}, {}),
            ("dose", {}, {"RadionuclideTotalDose": None}),
            ("half-life", {}, {"RadionuclideHalfLife": None}),
            (
                "any time of injection",
                {},
                {"RadiopharmaceuticalStartTime": None, "RadiopharmaceuticalStartDateTime": None},
            ),
            ("decay correction", {"DecayCorrection": "NONE"}, {}),
            ("a series time that fits", {"SeriesTime": "235900"}, {}),
            ("an isotope", {"RadiopharmaceuticalInformationSequence": [Dataset()]}, {}),
        )
    ),
    series("counts with the vendor's factor", "suv_computed", _counts, PHILIPS_FACTOR),
    series("counts without a factor", "suv_unit_unsupported", _counts, None),
)
