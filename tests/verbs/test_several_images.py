"""Several images a case: what one alone doesn't show is learned from the other, wherever it lies."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from scipy import ndimage

from lepton_monai.cases.case import load_case, meet, share_held
from lepton_monai.cases.collect import collect
from lepton_monai.cli.tables import check_text
from lepton_monai.config.load import load_config
from lepton_monai.config.schema import Config
from lepton_monai.core.errors import ConfigError, InputError
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.data.fingerprint import measure
from lepton_monai.labels.labelset import LabelClass, LabelSet
from lepton_monai.verbs.check import check
from lepton_monai.verbs.evaluate import evaluate
from lepton_monai.verbs.predict import predict
from lepton_monai.verbs.train import AnyReport, train
from sample_data.dicom_files import SeriesOptions, identity, series_uid_of, sop_uid_of, write_series
from sample_data.label_files import write_rtstruct
from tests.verbs.exports import AFFINE, CONFIG, SHAPE, ball

NAMES = Pseudonyms(b"s" * 32)
OPTIONS: dict[str, Any] = {"pseudonyms": NAMES, "device": "cpu"}
MR_SHAPE = (26, 15, 24)


def mr_affine() -> np.ndarray:
    """Return a sagittal grid, finer than that of the CT and turned a little against it."""
    affine = np.eye(4)
    turn = np.array([[0.0, 0.0, 1.0], [0.995, -0.0998, 0.0], [-0.0998, -0.995, 0.0]])
    affine[:3, :3] = turn * [2.0, 3.1, 1.9]
    affine[:3, 3] = AFFINE[:3, :3] @ [10.0, 11.0, 7.0] + AFFINE[:3, 3] - affine[:3, :3] @ [13.0, 7.0, 12.0]
    return affine


def write_patient(root: Path, number: int, *, mr: bool = True, label: bool = True) -> None:
    """Write a CT of nothing but noise with a ball that is drawn on it, and an MR that shows the ball."""
    who = identity(f"patient {number}")
    _, inside = ball(number)
    folder = root / who.patient_id
    noise = np.random.default_rng([9, number]).normal(1024, 20, SHAPE).astype(np.int16)
    options = SeriesOptions(rescale_intercept=-1024.0)
    write_series(folder / "ct", noise, AFFINE, who, options)
    if label:
        uid = series_uid_of(who, options)
        instances = [sop_uid_of(uid, k) for k in range(SHAPE[2])]
        write_rtstruct(folder / "rs.dcm", {"Ball": inside}, AFFINE, who, uid, instances)
    if mr:
        index = np.stack(np.meshgrid(*map(np.arange, MR_SHAPE), indexing="ij"), axis=-1)
        relation = np.linalg.inv(AFFINE) @ mr_affine()
        places = np.moveaxis(index @ relation[:3, :3].T + relation[:3, 3], -1, 0)
        shown = ndimage.map_coordinates(inside.astype(float), places, order=1)
        write_series(
            folder / "mr", (100 + 500 * shown).astype(np.int16), mr_affine(), who, SeriesOptions("MR")
        )


def config_of(
    folder: Path, root: Path, images: str = "ct: {modality: CT}\n    mr: {modality: MR}"
) -> Config:
    text = CONFIG.format(root=root).replace("ct: {modality: CT}", images).replace("steps: 30", "steps: 250")
    (folder / "task.yaml").write_text(text, encoding="utf-8")
    return load_config(folder / "task.yaml")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> AnyReport:
    folder = tmp_path_factory.mktemp("several")
    for number in range(8):
        write_patient(folder / "export", number)
    return train(config_of(folder, folder / "export"), folder / "run", **OPTIONS)


def test_what_the_second_image_shows_is_found_on_the_first(trained: AnyReport, tmp_path: Path) -> None:
    done = evaluate(trained.run.folder, **OPTIONS)
    assert done.dice["ball"].mean > 0.7
    alone = train(
        config_of(tmp_path, trained.run.folder.parent / "export", "ct: {modality: CT}"),
        tmp_path / "run",
        **OPTIONS,
    )
    assert evaluate(alone.run.folder, **OPTIONS).dice["ball"].mean < 0.5  # the CT is noise


def test_the_plan_names_both_images_and_each_scale(trained: AnyReport) -> None:
    plan = trained.plan
    assert [(one.name, one.unit) for one in plan.images] == [("ct", "HU"), ("mr", "1")]
    assert (plan.preparation.intensity.scheme, plan.preparation.further[0].scheme) == ("window", "zscore")
    key = json.loads((trained.run.folder / "key.json").read_text(encoding="utf-8"))
    assert all(len({entry["series_uid"], entry["further"][0]["series_uid"]}) == 2 for entry in key.values())


def test_the_label_is_drawn_on_every_image(trained: AnyReport, tmp_path: Path) -> None:
    config = config_of(tmp_path, trained.run.folder.parent / "export")
    found = check(config, pseudonyms=NAMES, pictures=tmp_path / "drawn")
    expected = {f"{row.name}{ending}" for row in found.rows for ending in (".png", ".mr.png")}
    assert {path.name for path in (tmp_path / "drawn").iterdir()} == expected
    assert "Each is ct with mr." in check_text(found)


def test_a_study_without_the_second_image_is_named(trained: AnyReport, tmp_path: Path) -> None:
    write_patient(tmp_path / "new", 20, label=False)
    write_patient(tmp_path / "new", 21, label=False, mr=False)
    done = predict(
        trained.run.folder, tmp_path / "new", tmp_path / "out", formats=["nifti", "seg"], **OPTIONS
    )
    ((_, finding),) = done.failed
    assert (finding.code, len(done.records)) == ("image_absent", 1)
    assert "is `mr` (MR): nothing lies beside it" in finding.message
    assert done.passed_over == ()  # the MR is used
    (record,) = done.records
    assert record["further"] == [{"image": "mr", "shape": list(MR_SHAPE), "unit": "1"}]
    image = nibabel.Nifti1Image.from_filename(done.out / done.records[0]["case"] / "mask.nii.gz")
    assert image.shape == SHAPE
    np.testing.assert_allclose(image.affine, np.diag([-1, -1, 1, 1]) @ AFFINE, atol=1e-3)


def test_images_that_lie_apart_and_cases_without_all_images_are_told(tmp_path: Path) -> None:
    write_patient(tmp_path / "export", 0)
    who = identity("patient 0")
    folder = tmp_path / "export" / who.patient_id
    far = mr_affine()
    far[:3, 3] += 500.0
    shutil.rmtree(folder / "mr")
    values = np.arange(np.prod(MR_SHAPE), dtype=np.int16).reshape(MR_SHAPE)
    write_series(folder / "mr", values, far, who, SeriesOptions("MR"))
    data = config_of(tmp_path, tmp_path / "export").data_choice()
    (case,) = collect(data, NAMES).cases
    found = load_case(case, data.label.labels, empty_is_negative=False)
    assert isinstance(found, Finding)
    assert found.code == "images_apart"
    shutil.rmtree(folder / "mr")
    with pytest.raises(InputError, match=r"No case has all of its images \(ct, mr\)"):
        collect(data, NAMES)


def test_a_label_that_nothing_matches_is_told_before_an_image_that_is_absent(tmp_path: Path) -> None:
    write_patient(tmp_path / "export", 0)
    write_patient(tmp_path / "export", 1, mr=False)
    data = config_of(tmp_path, tmp_path / "export").data_choice()
    nothing = replace(data.label, labels=LabelSet((LabelClass("cube", ("Cube*",)),)))
    with pytest.raises(InputError, match="none has a label") as told:
        collect(replace(data, label=nothing), NAMES)
    assert told.value.names == ("Ball",)


def test_a_small_image_within_a_large_one_is_not_apart() -> None:
    large = Grid((100, 100, 400), np.diag([5.0, 5.0, 5.0, 1.0]))
    for place in range(20, 1900, 47):
        affine = np.diag([1.0, 1.0, 3.0, 1.0])
        affine[:3, 3] = [200.0, 200.0, place]
        small = Grid((100, 100, 20), affine)
        for first, other in ((large, small), (small, large)):
            assert meet(first, other), place


def test_an_image_that_reaches_little_of_the_first_is_told(tmp_path: Path) -> None:
    write_patient(tmp_path / "export", 0)
    folder = tmp_path / "export" / identity("patient 0").patient_id
    shutil.rmtree(folder / "mr")
    values = np.arange(np.prod(SHAPE[:2]) * 4, dtype=np.int16).reshape(*SHAPE[:2], 4)
    write_series(folder / "mr", values, AFFINE, identity("patient 0"), SeriesOptions("MR"))
    config = config_of(tmp_path, tmp_path / "export")
    (told,) = [finding for _, finding in check(config, pseudonyms=NAMES).findings]
    share = share_held(Grid((*SHAPE[:2], 4), AFFINE), Grid(SHAPE, AFFINE))
    assert share == pytest.approx(4 / SHAPE[2], abs=0.07)
    assert told.code == "little_overlap"
    assert f"Image 2 of the case reaches {share:.0%} of the first." in told.message


def test_a_case_without_a_lesion_is_measured_everywhere(tmp_path: Path) -> None:
    write_patient(tmp_path / "export", 0, label=False)
    data = config_of(tmp_path, tmp_path / "export").data_choice()
    data = replace(data, label=replace(data.label, empty_is_negative=True))
    found = load_case(collect(data, NAMES).cases[0], data.label.labels, empty_is_negative=True)
    assert not isinstance(found, Finding)
    measured = measure(found)
    assert [len(one) > 1000 for one in measured.values] == [True, True]
    assert np.median(measured.values[1]) < 200  # around the ball


def test_a_changed_voxel_of_the_second_image_is_another_case(tmp_path: Path) -> None:
    """And its values are measured where the label lies, on its own grid."""
    write_patient(tmp_path / "export", 0)
    data = config_of(tmp_path, tmp_path / "export").data_choice()
    before = load_case(collect(data, NAMES).cases[0], data.label.labels, empty_is_negative=False)
    assert not isinstance(before, Finding)
    measurement = measure(before)
    assert np.median(measurement.values[1]) > 500  # the ball, of 100 around it
    path = next((tmp_path / "export").rglob("mr/IM0003"))
    path.write_bytes(path.read_bytes()[:-2] + b"\x07\x00")
    after = load_case(collect(data, NAMES).cases[0], data.label.labels, empty_is_negative=False)
    assert not isinstance(after, Finding)
    assert before.digest == after.digest
    assert before.digests() != after.digests()


def test_nifti_images_go_together_by_their_name(tmp_path: Path) -> None:
    for number in range(6):
        values, inside = ball(number)
        for name, array in (("t1", np.zeros(SHAPE) + values.std()), ("t2", values), ("labels", inside)):
            (tmp_path / name).mkdir(exist_ok=True)
            noise = np.random.default_rng([number, 1]).normal(size=SHAPE) if name == "t1" else 0
            image = nibabel.Nifti1Image((array + noise).astype(np.float32), np.diag([2.0, 2.1, 3.0, 1.0]))
            nibabel.save(image, tmp_path / name / f"case-{number}.nii.gz")
    text = CONFIG.format(root=tmp_path).replace(
        "ct: {modality: CT}", "t1: {folder: t1}\n    t2: {folder: t2}"
    )
    text = text.replace(
        'source: rtstruct\n    classes: {ball: "Ball*"}', "source: nifti\n    classes: {ball: 1}"
    )
    (tmp_path / "task.yaml").write_text(text, encoding="utf-8")
    done = train(load_config(tmp_path / "task.yaml"), tmp_path / "run", **OPTIONS)
    assert [one.name for one in done.plan.images] == ["t1", "t2"]
    (tmp_path / "t2" / "case-0.nii.gz").unlink()
    found = predict(done.run.folder, tmp_path, tmp_path / "out", **OPTIONS)
    assert (len(found.records), [finding.code for _, finding in found.failed]) == (5, ["image_absent"])


def test_of_several_images_each_must_say_which(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="each needs a `modality`"):
        config_of(tmp_path, tmp_path, "ct: {modality: CT}\n    other: {}")
    with pytest.raises(ConfigError, match="described alike"):
        config_of(tmp_path, tmp_path, "ct: {modality: CT}\n    other: {modality: CT}")
