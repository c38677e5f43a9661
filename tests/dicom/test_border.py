"""Whatever bytes a file holds, what comes back is a value, a finding or an error of ours."""

from pathlib import Path

import numpy as np

from lepton_monai.core.errors import LeptonError
from lepton_monai.core.findings import RULES
from lepton_monai.dicom import read_series, scan
from lepton_monai.labels.rtstruct import read_structures
from lepton_monai.labels.seg import read_segments
from tests.dicom.by_pydicom import TEST_FILES
from tests.dicom.mutated import mutations
from tests.phantoms import rough_mask, tiny_ct, tiny_rtstruct, tiny_seg


def test_120_mutated_label_objects_are_read_or_refused(tmp_path: Path) -> None:
    generator = np.random.default_rng(12)
    phantom = tiny_ct(tmp_path / "ct", shape=(16, 12, 5))
    mask = rough_mask((16, 12, 5))
    files = [
        tiny_rtstruct(tmp_path / "rs.dcm", phantom, {"GTV": mask}),
        tiny_seg(tmp_path / "seg.dcm", phantom, {"GTV": mask}),
    ]
    grid = scan([tmp_path / "ct"]).series[0].grid
    for path in files:
        for changed in mutations(path.read_bytes(), generator, 60):
            path.write_bytes(changed)
            scan([path])
            try:
                if path.name == "rs.dcm":
                    read_structures(path)
                else:
                    read_segments(path, grid)
            except LeptonError:
                continue


def test_pydicoms_own_odd_files_end_in_a_value_or_a_finding() -> None:
    index = scan([TEST_FILES])
    assert index.files > 100
    for series in index.series:
        try:
            read_series(series)
        except LeptonError:
            continue


def test_every_code_of_the_registry_is_emitted_somewhere() -> None:
    package = Path(__file__).parents[2] / "lepton_monai"
    text = "".join(
        path.read_text(encoding="utf-8") for path in package.rglob("*.py") if path.name != "findings.py"
    )
    assert [code for code in RULES if f'"{code}"' not in text] == []
