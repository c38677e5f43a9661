"""What SUV needs of a PET header, and the factor from activity to SUV by body weight."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydicom.valuerep import DA, DT, TM

from lepton_monai.core.findings import Finding
from lepton_monai.dicom.elements import Elements

MOST_HALF_LIVES = 10
"""A thousandth of the dose is left: nothing is imaged then, so one of the dates is wrong."""


@dataclass(frozen=True)
class PetDose:
    """Of PS3.3 C.8.9.1 (PET series) and C.8.9.2 (PET isotope).

    Parameters
    ----------
    suv_type
        BW, LBM, BSA, ... or empty.
    decay_correction
        START, ADMIN or NONE.
    weight_kg, dose_bq, half_life_s
        None where absent or not above zero.
    injected
        When the tracer was given.
    injected_without_date
        The date of `injected` is that of the series, since the header holds a time alone.
    series_start, acquired
        The series' reference time; the acquisition of this slice.
    philips_factor
        SUVbw per count of CNTS.
    """

    suv_type: str
    decay_correction: str
    weight_kg: float | None
    dose_bq: float | None
    half_life_s: float | None
    injected: datetime | None
    injected_without_date: bool
    series_start: datetime | None
    acquired: datetime | None
    philips_factor: float | None


def read_pet_dose(elements: Elements) -> PetDose:
    """Take the values from a header; what is absent is None."""
    series_date, series_time = elements.text("SeriesDate"), elements.text("SeriesTime")
    injected = _datetime(elements.text("RadiopharmaceuticalStartDateTime"))
    time_alone = injected is None
    if time_alone:
        injected = _moment(series_date, elements.text("RadiopharmaceuticalStartTime"))
    return PetDose(
        suv_type=elements.text("SUVType").upper(),
        decay_correction=elements.text("DecayCorrection").upper(),
        weight_kg=_positive(elements.number("PatientWeight")),
        dose_bq=_positive(elements.number("RadionuclideTotalDose")),
        half_life_s=_positive(elements.number("RadionuclideHalfLife")),
        injected=injected,
        injected_without_date=time_alone and injected is not None,
        series_start=_moment(series_date, series_time),
        acquired=_moment(elements.text("AcquisitionDate"), elements.text("AcquisitionTime")),
        philips_factor=_philips_factor(elements),
    )


def suv_factor(doses: Sequence[PetDose]) -> tuple[float | None, tuple[Finding, ...]]:
    """Return what to multiply Bq/ml with to get SUVbw (g/ml), and what was noted.

    Parameters
    ----------
    doses
        Of every slice of one series.

    Returns
    -------
    factor
        None where an input is missing: then the values stay Bq/ml.
    findings
        `suv_computed`, `suv_midnight_assumed` or `suv_inputs_missing`.

    Notes
    -----
    SUVbw = activity x weight / dose, the dose decayed from injection to the time that the values were
    decay-corrected to: the series' time for START, the injection for ADMIN (PS3.3 C.8.9.1.1.5,
    QIBA SUV vendor-neutral pseudo-code).
    """
    first = doses[0]
    problem = _problem(doses)
    weight, dose, half_life = first.weight_kg, first.dose_bq, first.half_life_s
    if problem or weight is None or dose is None or half_life is None:
        message = f"SUV can't be computed: {problem or 'weight, dose or half-life is absent'}."
        return None, (Finding("suv_inputs_missing", message),)
    findings: list[Finding] = []
    seconds = 0.0
    if first.decay_correction == "START" and first.injected and first.series_start:
        seconds = _elapsed_s(first.injected, first.series_start)
        if first.injected > first.series_start:
            message = "The injection is taken to be on the day before the scan, past midnight."
            findings.append(Finding("suv_midnight_assumed", message))
    decayed = dose * math.exp(-math.log(2.0) * seconds / half_life)
    message = f"SUVbw from {weight:g} kg and {dose / 1e6:.4g} MBq, {seconds / 60:.1f} min of decay."
    findings.append(Finding("suv_computed", message))
    return weight * 1000.0 / decayed, tuple(findings)


def _problem(doses: Sequence[PetDose]) -> str:
    """Say what keeps the time of the decay correction from being known, or nothing."""
    first = doses[0]
    if len({replace(dose, acquired=None) for dose in doses}) > 1:
        return "the slices differ in weight, dose, half-life, times or decay correction"
    if first.decay_correction == "ADMIN":
        return ""
    if first.decay_correction != "START":
        return f"DecayCorrection is {first.decay_correction[:16] or 'absent'}, not START or ADMIN"
    if first.injected is None or first.series_start is None:
        return "the time of the injection or of the series is absent"
    acquired = [dose.acquired for dose in doses if dose.acquired]
    return _problem_of_times(first, first.injected, first.series_start, min(acquired, default=None))


def _problem_of_times(
    dose: PetDose, injected: datetime, series_start: datetime, acquired: datetime | None
) -> str:
    if acquired and series_start > acquired:
        # A derived series carries the time of its making: no reference for the decay.
        return "the series time is later than the first acquisition"
    if injected > series_start and not dose.injected_without_date:
        return "the injection is later than the scan"
    elapsed_s = _elapsed_s(injected, series_start)
    if dose.half_life_s and elapsed_s > MOST_HALF_LIVES * dose.half_life_s:
        return f"the injection is {elapsed_s / dose.half_life_s:.0f} half-lives before the scan"
    return ""


def _elapsed_s(injected: datetime, series_start: datetime) -> float:
    """Return the time from the injection to the scan; an injection after it was on the day before."""
    seconds = (series_start - injected).total_seconds()
    return seconds if seconds >= 0 else seconds + timedelta(days=1).total_seconds()


def _philips_factor(elements: Elements) -> float | None:
    found = elements.private("PhilipsSuvFactor")
    return _positive(found[0]) if found else None


def _positive(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) and number > 0 else None


def _moment(date: str, time: str) -> datetime | None:
    """Join a date and a time of the header; None where one is absent."""
    if not date or not time:
        return None
    return datetime.combine(DA(date), TM(time))


def _datetime(value: str) -> datetime | None:
    moment = DT(value) if value else None
    return datetime.combine(moment.date(), moment.time()) if moment else None
