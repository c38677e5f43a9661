"""Many slices in one file: enhanced multi-frame objects and the mosaics of Siemens."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import UID, RLELossless

from sample_data.dicom_files import decimals, identity, new_dataset, save
from tests.dicom.catalogue.builders import SERIES_UID, SHAPE, VIEWS, Change, every
from tests.dicom.catalogue.truth import CatalogueSeries, Frames, TrueVolume, Truth, refused, series, used
from tests.phantoms import unique_values

EXPLICIT, IMPLICIT, BIG, DEFLATED = (f"1.2.840.10008.1.2{end}" for end in (".1", "", ".2", ".1.99"))
CLASSES = {"CT": ".2.1", "MR": ".4.1", "PT": ".130"}
FRAME_TYPES = {
    "CT": "CTImageFrameTypeSequence",
    "MR": "MRImageFrameTypeSequence",
    "PT": "PETFrameTypeSequence",
}
UNITS = {"CT": "HU", "MR": "1", "PT": "1"}


def _item(**values: object) -> list[Dataset]:
    one = Dataset()
    every(**values)(0, one)
    return [one]


def _frame(k: int, kind: str, volume: TrueVolume, slope: float, intercept: float) -> Dataset:
    """Return the functional groups of a frame: PS3.3 C.7.6.16."""
    spacing = np.linalg.norm(volume.steps, axis=0)
    frame = Dataset()
    frame.FrameContentSequence = _item(
        StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[1, k + 1]
    )
    frame.PlanePositionSequence = _item(ImagePositionPatient=decimals(volume.origins[k]))
    directions = decimals((volume.steps / spacing).T)
    frame.PlaneOrientationSequence = _item(ImageOrientationPatient=directions)
    measures = {"PixelSpacing": decimals(spacing[::-1]), "SliceThickness": "2.7"}
    frame.PixelMeasuresSequence = _item(**measures)
    rescale = {"RescaleSlope": str(slope), "RescaleIntercept": str(intercept)}
    kinds = {"CT": "HU", "MR": "US", "PT": "US"}
    frame.PixelValueTransformationSequence = _item(**rescale, RescaleType=kinds[kind])
    setattr(frame, FRAME_TYPES[kind], _item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]))
    return frame


def write_enhanced(
    path: Path,
    volumes: Sequence[TrueVolume],
    *changes: Change,
    kind: str = "CT",
    order: Sequence[int] | None = None,
    syntax: str = EXPLICIT,
    shared: bool = False,
    rescales: Sequence[tuple[float, float]] | None = None,
) -> Dataset:
    """Write the slices of some volumes as frames of one file; `changes` are of the frames' groups."""
    dataset = new_dataset(
        f"1.2.840.10008.5.1.4.1.1{CLASSES[kind]}", f"{SERIES_UID}.1", syntax, identity("many")
    )
    every(Modality=kind, SeriesInstanceUID=SERIES_UID, SeriesDescription="ENHANCED", InstanceNumber=1)(
        0, dataset
    )
    planes = [(volume, k) for volume in volumes for k in range(volume.values.shape[2])]
    order = range(len(planes)) if order is None else order
    stored, frames = [], []
    for number in order:
        volume, k = planes[number]
        slope, intercept = (1.0, 0.0) if rescales is None else rescales[k]
        stored.append(np.rint((volume.values[:, :, k].T - intercept) / slope).astype(np.int16))
        frame = _frame(k, kind, volume, slope, intercept)
        for change in changes:
            change(number, frame)
        frames.append(frame)
    if shared:
        _share(dataset, frames)
    dataset.PerFrameFunctionalGroupsSequence = frames
    _pixels(dataset, np.stack(stored), syntax)
    save(dataset, path)
    return dataset


def _share(dataset: Dataset, frames: Sequence[Dataset]) -> None:
    groups = Dataset()
    for keyword in (
        "PlaneOrientationSequence",
        "PixelMeasuresSequence",
        "PixelValueTransformationSequence",
    ):
        setattr(groups, keyword, getattr(frames[0], keyword))
        for frame in frames:
            delattr(frame, keyword)
    dataset.SharedFunctionalGroupsSequence = [groups]


def _pixels(dataset: Dataset, stored: NDArray[np.int16], syntax: str) -> None:
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = stored.shape
    bits = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}
    every(SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", **bits)(0, dataset)
    dataset.PixelData = stored.astype(">i2" if syntax == BIG else "<i2").tobytes()
    dataset["PixelData"].VR = "OW"
    if syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = UID(EXPLICIT)  # what compress starts from
        dataset.compress(RLELossless, generate_instance_uid=False)


def _volume(kind: str = "CT", view: str = "oblique", lowest: int = 0) -> TrueVolume:
    affine = VIEWS[view]
    values = unique_values(SHAPE, np.int16, lowest).astype(np.float64)
    origins = affine[:3, 3] + np.arange(SHAPE[2])[:, None] * affine[:3, 2]
    return TrueVolume(values, origins, affine[:3, :2], UNITS[kind])


# ------------------------------------------------------------------------------- enhanced
def _plain(kind: str, view: str, syntax: str, shared: bool, folder: Path) -> Truth:
    volume = _volume(kind, view)
    write_enhanced(folder / "all", [volume], kind=kind, syntax=syntax, shared=shared)
    return used(volume, notes="suv_unit_unsupported" if kind == "PT" else "")


def _shuffled(view: str, folder: Path) -> Truth:
    volume = _volume(view=view)
    write_enhanced(folder / "all", [volume], order=[3, 0, 4, 1, 2])
    return used(volume, notes="frames_reordered")


def _rescaled(folder: Path) -> Truth:
    rescales = [(2.0, -1024.0), (0.5, 0.0), (1.0, 8.0), (0.125, -5.0), (3.0, 1.5)]
    volume = _volume()
    slopes, intercepts = np.array(rescales).T
    volume = replace(volume, values=volume.values * slopes + intercepts)
    write_enhanced(folder / "all", [volume], rescales=rescales)
    return used(volume, notes="rescale_varies")


def _by(group: str, keyword: str, values: Sequence[object]) -> Change:
    """Give the frames of each volume another value of one tag."""

    def change(number: int, frame: Dataset) -> None:
        item = _item(**{keyword: values[number // SHAPE[2]]})[0]
        if group in frame:
            item = _joined(frame[group].value[0], item)
        setattr(frame, group, [item])

    return change


def _joined(first: Dataset, second: Dataset) -> Dataset:
    together = Dataset()
    together.update(first)
    together.update(second)
    return together


def _split(code: str, group: str, keyword: str, values: Sequence[object], folder: Path) -> Truth:
    volumes = [_volume("MR", lowest=1000 * number) for number in range(len(values))]
    order = np.random.default_rng(3).permutation(SHAPE[2] * len(values)).tolist()
    write_enhanced(folder / "all", volumes, _by(group, keyword, values), kind="MR", order=order)
    return used(*volumes, notes=f"{code} frames_reordered")


def _two_stacks(folder: Path) -> Truth:
    """Two stacks of other directions in one object."""
    volumes = [_volume("MR", "axial"), _volume("MR", "sagittal", 1000)]
    write_enhanced(folder / "all", volumes, _by("FrameContentSequence", "StackID", ["1", "2"]), kind="MR")
    return used(*volumes, notes="mixed_orientation")


def _gap(folder: Path) -> Truth:
    volume = _volume()
    write_enhanced(folder / "all", [volume], order=[0, 1, 3, 4])
    values = volume.values.copy()
    values[:, :, 2] = np.nan
    return refused("missing_slice", "fill_gaps", gives=replace(volume, values=values))


def _changed(code: str, tags: dict[str, object], folder: Path) -> Truth:
    dataset = write_enhanced(folder / "all", [_volume()])
    every(**tags)(0, dataset)
    save(dataset, folder / "all")
    return used(passed_over=code)


def _without_position(folder: Path) -> Truth:
    def change(number: int, frame: Dataset) -> None:
        if number == 2:
            del frame.PlanePositionSequence

    write_enhanced(folder / "all", [_volume()], change)
    return used(passed_over="no_position")


def _big_endian(folder: Path) -> Truth:
    write_enhanced(folder / "all", [_volume()], syntax=BIG)
    return used(passed_over="multi_frame")


def _in_fragments(folder: Path) -> Truth:
    """Two fragments a frame: the Basic Offset Table says where frames start."""
    volume = _volume()
    dataset = write_enhanced(folder / "all", [volume], syntax=RLELossless)
    whole = list(generate_frames(dataset.PixelData, number_of_frames=SHAPE[2]))
    dataset.PixelData = encapsulate(whole, fragments_per_frame=2)
    save(dataset, folder / "all")
    return used(volume)


# ------------------------------------------------------------------------------- mosaic
def csa_header(**tags: Sequence[object]) -> bytes:
    """Make a CSA2 header: its layout is known from nibabel and dcm2niix alone."""
    content = b"SV10\4\3\2\1" + struct.pack("<2I", len(tags), 77)
    for name, values in tags.items():
        content += struct.pack("<64si4s3i", name.encode(), len(values), b"FD\0\0", 4, len(values), 77)
        for value in values:
            text = f"{value}\0".encode()
            content += struct.pack("<4i", len(text), len(text), 77, len(text)) + text
            content += bytes(-len(text) % 4)
    return content


def _mosaic(
    volume: TrueVolume, normal: Frames, *, csa: bool, folder: Path, name: str = "mosaic"
) -> Dataset:
    """Write the slices of a volume as tiles, row after row, in a square of them."""
    columns, rows, count = volume.values.shape
    across = int(np.ceil(np.sqrt(count)))
    whole = np.zeros((across * rows, across * columns), np.int16)
    for k in range(count):
        row, column = k // across * rows, k % across * columns
        whole[row : row + rows, column : column + columns] = volume.values[:, :, k].T
    dataset = new_dataset("1.2.840.10008.5.1.4.1.1.4", f"{SERIES_UID}.1", EXPLICIT, identity("mosaic"))
    spacing = np.linalg.norm(volume.steps, axis=0)
    # The position is that of a slice as large as the mosaic, with the centre of the first tile.
    corner = volume.origins[0] - volume.steps @ np.array([columns, rows]) * (across - 1) / 2
    every(
        Modality="MR",
        Manufacturer="SIEMENS",
        SeriesInstanceUID=SERIES_UID,
        InstanceNumber=1,
        ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"],
        ImagePositionPatient=decimals(corner),
        ImageOrientationPatient=decimals((volume.steps / spacing).T),
        PixelSpacing=decimals(spacing[::-1]),
        SliceThickness="2.7",
        SpacingBetweenSlices="2.7",
    )(0, dataset)
    if csa:
        block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(
            0x10, "OB", csa_header(NumberOfImagesInMosaic=[count], SliceNormalVector=list(normal))
        )
    bits = {"BitsAllocated": 16, "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1}
    every(SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2", **bits)(0, dataset)
    dataset.Rows, dataset.Columns = whole.shape
    dataset.PixelData = whole.tobytes()
    dataset["PixelData"].VR = "OW"
    save(dataset, folder / name)
    return dataset


def _tiles(view: str, count: int, direction: float, folder: Path) -> Truth:
    affine = VIEWS[view]
    normal = affine[:3, 2] / 2.7 * direction
    values = unique_values((*SHAPE[:2], count)).astype(np.float64)
    origins = affine[:3, 3] + np.arange(count)[:, None] * normal * 2.7
    volume = TrueVolume(values, origins, affine[:3, :2], "1")
    _mosaic(volume, normal, csa=True, folder=folder)
    return used(volume)


def _tiles_without_csa(folder: Path) -> Truth:
    _mosaic(_volume("MR"), np.zeros(3), csa=False, folder=folder)
    return used(passed_over="mosaic")


_FRAMES = "FrameContentSequence"
_KEYS: list[tuple[Any, ...]] = [
    ("echoes", "multiple_echoes", "MREchoSequence", "EffectiveEchoTime", [10.0, 80.0]),
    ("b-values", "multiple_b_values", "MRDiffusionSequence", "DiffusionBValue", [0.0, 500.0, 1000.0]),
    ("time points", "multiple_time_points", _FRAMES, "TemporalPositionIndex", [1, 2, 3]),
    ("stacks", "multiple_stacks", _FRAMES, "StackID", ["1", "2"]),
    ("acquisitions", "multiple_acquisitions", _FRAMES, "FrameAcquisitionNumber", [1, 2]),
    (
        "phases",
        "multiple_phases",
        "CardiacSynchronizationSequence",
        "NominalCardiacTriggerDelayTime",
        [0.0, 40.0],
    ),
    (
        "components",
        "multiple_image_types",
        "MRImageFrameTypeSequence",
        "ComplexImageComponent",
        ["MAGNITUDE", "PHASE"],
    ),
]

MANY_FRAMES: tuple[CatalogueSeries, ...] = (
    *(
        series(f"enhanced {kind}, {view}", "enhanced", _plain, kind, view, EXPLICIT, shared)
        for kind, shared in (("CT", True), ("MR", False), ("PT", True))
        for view in VIEWS
    ),
    *(
        series(f"enhanced CT, {name}", "enhanced", _plain, "CT", "oblique", syntax, True)
        for name, syntax in (("implicit", IMPLICIT), ("deflated", DEFLATED), ("RLE", RLELossless))
    ),
    *(series(f"shuffled frames, {view}", "frames_reordered", _shuffled, view) for view in VIEWS),
    *(series(f"enhanced MR, {name}", code, _split, code, *rest) for name, code, *rest in _KEYS),
    series("a rescale for every frame", "rescale_varies", _rescaled),
    series("enhanced MR, two planes", "mixed_orientation", _two_stacks),
    series("a frame missing", "missing_slice", _gap),
    series("more frames than groups", "multi_frame", _changed, "bad_header", {"NumberOfFrames": 6}),
    series(
        "no functional groups",
        "multi_frame",
        _changed,
        "multi_frame",
        {"PerFrameFunctionalGroupsSequence": None},
    ),
    series("a frame without position", "no_position", _without_position),
    series("an enhanced CT in big endian", "enhanced", _big_endian),
    series("RLE frames in fragments", "enhanced", _in_fragments),
    *(
        series(
            f"mosaic of {count}, {view}{', reversed' if direction < 0 else ''}",
            "mosaic",
            _tiles,
            view,
            count,
            direction,
        )
        for count, view in ((5, "oblique"), (9, "axial"), (10, "oblique, left-handed"), (4, "sagittal"))
        for direction in (1.0, -1.0)
    ),
    series("mosaic without a CSA header", "mosaic", _tiles_without_csa),
)
