"""What the documents promise is there."""

import re
from pathlib import Path
from runpy import run_path

from lepton_monai.config.schema import Config
from lepton_monai.core.findings import RULES

ROOT = Path(__file__).parent.parent


def test_every_finding_is_in_the_table_and_no_other() -> None:
    table = (ROOT / "docs" / "DICOM.md").read_text(encoding="utf-8").split("## Findings")[1]
    named = {
        code
        for line in table.splitlines()
        if line.startswith("| `")
        for code in re.findall(r"`([a-z0-9_]+)`", line.split("|")[1])
    }
    assert named == set(RULES)


def test_every_section_of_the_config_is_described() -> None:
    text = (ROOT / "docs" / "USE.md").read_text(encoding="utf-8")
    for section in Config.model_fields:
        assert f"`{section}" in text, section


def test_the_plans_are_what_the_planner_says_today() -> None:
    document = run_path(str(ROOT / "benchmarks" / "plans.py"))["document"]
    assert (ROOT / "docs" / "PLANS.md").read_text(encoding="utf-8") == document()


def test_no_link_of_a_document_is_broken() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "sample_data" / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name}: {target}"
