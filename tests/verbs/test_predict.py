import json
import shutil
import stat
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread

from lepton_monai.cli.tables import predict_text, require_all_done
from lepton_monai.config import load
from lepton_monai.core.errors import ConfigError, InputError, OutputFolderError, PartlyDoneError
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.dicom import scan
from lepton_monai.evaluation.overlap import dice
from lepton_monai.exports.formats import FILES
from lepton_monai.labels.rtstruct import rasterise, read_structures
from lepton_monai.labels.seg import read_segments
from lepton_monai.verbs.evaluate import evaluate
from lepton_monai.verbs.predict import PredictReport, predict
from lepton_monai.verbs.train import train
from sample_data.dicom_files import SeriesOptions, identity, write_series
from tests.verbs.exports import AFFINE, SHAPE, ball, write_config, write_export, write_patient

NAMES = Pseudonyms(b"s" * 32)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_export(folder / "export", 6)
    config = write_config(folder, folder / "export")
    return train(config, folder / "run", pseudonyms=NAMES, device="cpu").run.folder


def test_a_mask_lies_on_its_source_for_nibabel_and_for_simpleitk(run: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "study", 20, label=False)
    out = predict(run, tmp_path / "study", tmp_path / "out", pseudonyms=NAMES, device="cpu").out
    (path,) = out.glob("*/mask.nii.gz")
    image = nibabel.Nifti1Image.from_filename(path)
    np.testing.assert_allclose(image.affine, np.diag([-1, -1, 1, 1]) @ AFFINE, atol=1e-3)
    assert image.shape == SHAPE
    read = sitk.ReadImage(str(path))
    source = sitk.ReadImage([str(header.path) for header in scan([tmp_path / "study"]).series[0].headers])
    assert read.GetSize() == source.GetSize()
    for corner in ((0, 0, 0), tuple(extent - 1 for extent in SHAPE)):
        np.testing.assert_allclose(
            read.TransformIndexToPhysicalPoint(corner),
            source.TransformIndexToPhysicalPoint(corner),
            atol=1e-3,
        )


def test_predict_gives_the_mask_that_evaluate_judged(run: Path, tmp_path: Path) -> None:
    judged = evaluate(run, side="all", pseudonyms=NAMES, device="cpu")
    out = predict(run, run.parent / "export", tmp_path / "out", pseudonyms=NAMES, device="cpu").out
    key = json.loads((out / "key.json").read_text(encoding="utf-8"))
    assert len(judged.cases) == 4
    for row in judged.cases:
        mask = np.asarray(nibabel.Nifti1Image.from_filename(out / row.name / "mask.nii.gz").dataobj)
        _, truth = ball(int(key[row.name]["patient_id"].split("-")[1]))
        assert dice(mask > 0, truth) == pytest.approx(row.dice, abs=1e-12)


def test_only_the_series_that_fit_are_predicted_and_the_others_named(run: Path, tmp_path: Path) -> None:
    study = tmp_path / "study"
    who = write_patient(study, 21, label=False)
    stored, _ = ball(21)
    write_series(study / "mr", stored, AFFINE, who, SeriesOptions(modality="MR", description="T1"))
    gap = SeriesOptions(description="GAP")
    paths = write_series(study / "gap", stored, AFFINE, identity("somebody"), gap)
    paths[6].unlink()
    done = predict(run, study, tmp_path / "out", pseudonyms=NAMES, device="cpu")
    assert len(done.records) == 1
    assert [finding.code for _, finding in done.passed_over] == ["does_not_fit"]
    assert "modality is MR, CT is wanted" in done.passed_over[0][1].message
    ((refused, finding),) = done.failed
    assert (finding.code, done.findings) == ("missing_slice", ())
    manifest = json.loads((done.out / "manifest.json").read_text(encoding="utf-8"))
    assert [(one["case"], one["code"]) for one in manifest["failed"]] == [(refused, "missing_slice")]
    with pytest.raises(PartlyDoneError, match=refused):
        require_all_done(done)
    record = json.loads((done.out / "predictions.json").read_text(encoding="utf-8"))["predictions"][0]
    assert record["labels"] == {"ball": 1}
    assert {path.name for path in (done.out / record["case"]).iterdir()} >= {"mask.nii.gz", "overlay.png"}
    assert stat.S_IMODE((done.out / "key.json").stat().st_mode) == 0o600


def test_a_refused_series_of_another_kind_is_passed_over(run: Path, tmp_path: Path) -> None:
    who = write_patient(tmp_path / "study", 21, label=False)
    options = SeriesOptions(modality="MR", description="GAP")
    write_series(tmp_path / "study" / "mr", ball(21)[0], AFFINE, who, options)[6].unlink()
    done = predict(run, tmp_path / "study", tmp_path / "out", pseudonyms=NAMES, device="cpu")
    assert [finding.code for _, finding in done.passed_over] == ["does_not_fit"]
    require_all_done(done)


def test_an_image_unlike_the_training_is_marked_or_refused(run: Path, tmp_path: Path) -> None:
    """Four times as large as all that was trained on."""
    stored, _ = ball(20)
    large = np.diag([4.0, 4.0, 4.0, 1.0]) @ AFFINE
    write_series(tmp_path / "study", stored - 1024, large, identity("somebody"))
    options: dict[str, Any] = {"pseudonyms": NAMES, "device": "cpu"}
    done = predict(run, tmp_path / "study", tmp_path / "out", **options)
    told = [
        found["message"] for found in done.records[0]["findings"] if found["code"] == "outside_training"
    ]
    assert len(told) == 6  # spacing and extent along three axes
    assert f"info outside_training {done.records[0]['case']}: {told[0]}" in predict_text(done)
    refused = predict(run, tmp_path / "study", tmp_path / "other", outside="refuse", **options)
    assert [finding.code for _, finding in refused.failed] == ["outside_training"]
    assert all(one in refused.failed[0][1].message for one in ("spacing along x", "extent along z"))
    assert not list((tmp_path / "other").glob("*/mask.nii.gz"))
    again = predict(run, tmp_path / "study", tmp_path / "out", outside="refuse", **options)
    assert ([finding.code for _, finding in again.failed], again.records) == (["outside_training"], ())
    wrong: dict[str, Any] = options | {"outside": "Refuse"}
    with pytest.raises(ConfigError, match="mark or refuse"):
        predict(run, tmp_path / "study", tmp_path / "out", **wrong)


def test_the_key_leads_from_a_case_to_its_series(run: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "study", 20, label=False)
    done = predict(run, tmp_path / "study", tmp_path / "out", pseudonyms=NAMES, device="cpu")
    (series,) = scan([tmp_path / "study"]).series
    key = json.loads((done.out / "key.json").read_text(encoding="utf-8"))[done.records[0]["case"]]
    assert (key["series_uid"], key["study_uid"]) == (series.uid, series.identity.study_uid)


def test_a_case_of_the_split_that_is_gone_is_named_and_not_passed_over(run: Path, tmp_path: Path) -> None:
    """One image is refused now, one isn't there: the figures are of the others, and say so."""
    shutil.copytree(run, tmp_path / "run")
    key = json.loads((run / "key.json").read_text(encoding="utf-8"))
    split = json.loads((run / "split.json").read_text(encoding="utf-8"))
    asked = [entry["case"] for side in ("test", "validation") for entry in split[side]]
    shutil.copytree(run.parent / "export", tmp_path / "export")
    next((tmp_path / "export" / key[asked[0]]["patient_id"] / "ct").glob("*6*")).unlink()
    shutil.rmtree(tmp_path / "export" / key[asked[1]]["patient_id"])
    options: dict[str, Any] = {"pseudonyms": NAMES, "device": "cpu"}
    changes = [f"data.root={tmp_path / 'export'}"]
    done = evaluate(tmp_path / "run", side="all", changes=changes, **options)
    told = {name: finding.code for name, finding in done.findings if name in asked}
    assert told == {asked[0]: "missing_slice", asked[1]: "case_absent"}
    metrics = json.loads((done.folder / "metrics.json").read_text(encoding="utf-8"))
    assert {one["case"] for one in metrics["left_out"]} == {*asked[:2]}


def test_where_no_case_of_the_side_can_be_judged_the_reason_is_told(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    key = json.loads((run / "key.json").read_text(encoding="utf-8"))
    split = json.loads((run / "split.json").read_text(encoding="utf-8"))
    shutil.copytree(run.parent / "export", tmp_path / "export")
    for entry in split["test"]:
        next((tmp_path / "export" / key[entry["case"]]["patient_id"] / "ct").glob("*6*")).unlink()
    options: dict[str, Any] = {"pseudonyms": NAMES, "device": "cpu"}
    with pytest.raises(InputError, match=r"None of .* test cases? .* slices are missing") as told:
        evaluate(tmp_path / "run", changes=[f"data.root={tmp_path / 'export'}"], **options)
    assert "--salt" not in str(told.value)
    with pytest.raises(InputError, match="--salt"):
        evaluate(tmp_path / "run", pseudonyms=Pseudonyms(b"t" * 32), device="cpu")


def test_the_objects_for_a_pacs_hold_the_mask_that_the_nifti_holds(run: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "study", 20, label=False)
    options: dict[str, Any] = {"pseudonyms": NAMES, "device": "cpu"}
    done = predict(run, tmp_path / "study", tmp_path / "out", formats=list(FILES), **options)
    (record,) = done.records
    assert record["files"] == [*FILES.values(), "overlay.png"]
    folder = done.out / record["case"]
    (series,) = scan([tmp_path / "study"]).series
    mask = np.asarray(nibabel.Nifti1Image.from_filename(folder / FILES["nifti"]).dataobj) == 1
    assert mask.any()
    for drawn in (
        read_segments(folder / FILES["seg"], series.grid),
        rasterise(read_structures(folder / FILES["rtstruct"]), series.grid),
    ):
        (region,) = drawn.regions
        assert region.names[0] == "ball"
        np.testing.assert_array_equal(region.mask, mask)


def test_a_format_that_is_missing_is_made_up_for(run: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "study", 20, label=False)
    options: dict[str, Any] = {"pseudonyms": NAMES, "device": "cpu"}
    predict(run, tmp_path / "study", tmp_path / "out", **options)
    done = predict(run, tmp_path / "study", tmp_path / "out", formats=["seg"], **options)
    folder = done.out / done.records[0]["case"]
    assert done.records[0]["files"] == [FILES["nifti"], FILES["seg"], "overlay.png"]
    made = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = predict(run, tmp_path / "study", tmp_path / "out", formats=["seg", "nifti"], **options)
    assert again.records == done.records
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == made


def test_the_config_of_the_run_says_what_a_class_is(run: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "study", 20, label=False)
    shutil.copytree(run, tmp_path / "run")
    codes = "{category: [49755003, SCT, Morphologically Abnormal Structure], type: [4147007, SCT, Mass]}"
    config = load.load_config(run / "config.yaml", [f"data.labels.codes.ball={codes}"])
    load.write_config(config, tmp_path / "run" / "config.yaml")
    options: dict[str, Any] = {"formats": ["seg"], "pseudonyms": NAMES, "device": "cpu"}
    done = predict(tmp_path / "run", tmp_path / "study", tmp_path / "out", **options)
    assert _meaning(done) == "Mass"


def test_objects_with_other_codes_are_made_anew_and_never_stand_beside_new_ones(
    run: Path, tmp_path: Path
) -> None:
    write_patient(tmp_path / "study", 20, label=False)
    shutil.copytree(run, tmp_path / "run")
    options: dict[str, Any] = {"pseudonyms": NAMES, "device": "cpu"}
    arguments = (tmp_path / "run", tmp_path / "study", tmp_path / "out")
    first = predict(*arguments, formats=["nifti", "seg"], **options)
    assert _meaning(first) == "Tissue"
    codes = "{category: [49755003, SCT, Morphologically Abnormal Structure], type: [4147007, SCT, Mass]}"
    config = load.load_config(run / "config.yaml", [f"data.labels.codes.ball={codes}"])
    load.write_config(config, tmp_path / "run" / "config.yaml")
    assert _meaning(predict(*arguments, **options)) == "Tissue"  # no object was asked for
    done = predict(*arguments, formats=["rtstruct"], **options)
    assert _meaning(done) == "Mass"
    assert done.records[0]["files"] == [FILES["nifti"], FILES["seg"], FILES["rtstruct"], "overlay.png"]
    folder = done.out / done.records[0]["case"]
    made = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    predict(*arguments, formats=["seg", "rtstruct"], **options)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == made


def _meaning(done: PredictReport) -> str:
    (segment,) = dcmread(done.out / done.records[0]["case"] / FILES["seg"]).SegmentSequence
    return str(segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning)


def test_what_an_image_does_not_bear_is_told_at_every_start(run: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "study", 20, label=False)
    for path in (tmp_path / "study").rglob("*"):
        if path.is_file():
            dataset = dcmread(path)
            del dataset.FrameOfReferenceUID
            dataset.save_as(path)
    options: dict[str, Any] = {"formats": list(FILES), "pseudonyms": NAMES, "device": "cpu"}
    for _ in range(2):
        done = predict(run, tmp_path / "study", tmp_path / "out", **options)
        assert [finding.code for _, finding in done.unwritten] == ["object_not_written"] * 3
        assert done.records[0]["files"] == ["mask.nii.gz", "overlay.png"]
        with pytest.raises(PartlyDoneError, match="Not every format could be written"):
            require_all_done(done)


def test_a_report_is_added_to_the_segments_that_are_there(run: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "study", 20, label=False)
    options: dict[str, Any] = {"pseudonyms": NAMES, "device": "cpu"}
    predict(run, tmp_path / "study", tmp_path / "out", formats=["seg"], **options)
    done = predict(run, tmp_path / "study", tmp_path / "out", formats=["seg", "sr"], **options)
    assert done.unwritten == ()
    folder = done.out / done.records[0]["case"]
    report = dcmread(folder / FILES["sr"])
    inside = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    named = inside.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert named == dcmread(folder / FILES["seg"]).SOPInstanceUID


def test_the_masks_of_another_model_are_not_mixed_with(run: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "study", 20, label=False)
    options: dict[str, Any] = {"pseudonyms": NAMES, "device": "cpu"}
    out = predict(run, tmp_path / "study", tmp_path / "out", **options).out
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    (out / "manifest.json").write_text(json.dumps(manifest | {"model_sha256": "0" * 64}), encoding="utf-8")
    with pytest.raises(OutputFolderError, match="another model"):
        predict(run, tmp_path / "study", out, **options)


def test_a_report_brings_the_segments_that_it_names(run: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "study", 20, label=False)
    done = predict(
        run, tmp_path / "study", tmp_path / "out", formats=["sr"], pseudonyms=NAMES, device="cpu"
    )
    assert done.records[0]["files"] == [FILES["seg"], FILES["sr"], "overlay.png"]


def test_a_format_that_there_is_not_is_told_with_the_nearest(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`rtsruct` is no format of a mask; the nearest is `rtstruct`"):
        predict(run, tmp_path, tmp_path / "out", formats=["rtsruct"], pseudonyms=NAMES, device="cpu")


def test_a_second_start_does_only_what_is_missing(run: Path, tmp_path: Path) -> None:
    study, out = tmp_path / "study", tmp_path / "out"
    write_patient(study, 22, label=False)
    first = predict(run, study, out, pseudonyms=NAMES, device="cpu").records[0]["case"]
    before = (out / first / "mask.nii.gz").stat().st_mtime_ns
    write_patient(study, 23, label=False)
    done = predict(run, study, out, pseudonyms=NAMES, device="cpu")
    assert len(done.records) == 2
    assert (out / first / "mask.nii.gz").stat().st_mtime_ns == before


def test_truncated_pixels_never_become_a_mask(run: Path, tmp_path: Path) -> None:
    who = write_patient(tmp_path / "study", 24, label=False)
    path = tmp_path / "study" / who.patient_id / "ct" / "IM0003"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(InputError, match="truncated_pixel_data"):
        predict(run, tmp_path / "study", tmp_path / "out", pseudonyms=NAMES, device="cpu")
    assert not (tmp_path / "out").exists()


def test_an_empty_folder_and_a_folder_that_is_not_there_are_named(run: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"Nothing in .* fits the model: it holds no image"):
        predict(run, tmp_path / "empty", tmp_path / "out", pseudonyms=NAMES, device="cpu")
    with pytest.raises(InputError, match="doesn't exist"):
        predict(run, tmp_path / "nowhere", tmp_path / "out", pseudonyms=NAMES, device="cpu")


def test_a_folder_that_is_not_ours_is_left_alone(run: Path, tmp_path: Path) -> None:
    write_patient(tmp_path / "study", 25, label=False)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(OutputFolderError):
        predict(run, tmp_path / "study", tmp_path / "out", pseudonyms=NAMES, device="cpu")
    with pytest.raises(OutputFolderError):  # told before the input is looked at
        predict(run, tmp_path / "nowhere", tmp_path / "out", pseudonyms=NAMES, device="cpu")
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_model_of_nifti_images_predicts_nifti_images(tmp_path: Path) -> None:
    for number in range(6):
        stored, mask = ball(number)
        for name, array in (("images", stored), ("labels", mask.astype(np.uint8))):
            (tmp_path / name).mkdir(exist_ok=True)
            nibabel.save(
                nibabel.Nifti1Image(array, np.diag([-1, -1, 1, 1]) @ AFFINE),
                tmp_path / name / f"case_{number}.nii.gz",
            )
    config = write_config(
        tmp_path,
        tmp_path,
        **{
            "ct: {modality: CT}": "mr: {folder: images}",
            "source: rtstruct": "source: nifti\n    folder: labels",
            '"Ball*"': "1",
        },
    )
    done = train(config, tmp_path / "run", pseudonyms=NAMES, device="cpu")
    assert done.plan.preparation.intensity.scheme == "zscore"
    shutil.rmtree(tmp_path / "labels")
    out = predict(done.run.folder, tmp_path / "images", tmp_path / "out", pseudonyms=NAMES, device="cpu")
    assert len(out.records) == 6
