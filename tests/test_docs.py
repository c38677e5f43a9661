"""What the documents promise is there."""

import re
from pathlib import Path
from runpy import run_path
from typing import Any

import click
import pytest

from lepton_monai.cli.main import lepton
from lepton_monai.config.classification import ClassificationConfig
from lepton_monai.config.load import AnyConfig, load_task
from lepton_monai.config.schema import Config
from lepton_monai.core.findings import RULES
from tests.verbs.exports import CONFIG, SHAPE, write_export, write_patient

ROOT = Path(__file__).parent.parent
GUIDES: dict[str, type[AnyConfig]] = {"USE.md": Config, "CLASSIFICATION.md": ClassificationConfig}


def test_every_finding_is_in_the_table_and_no_other() -> None:
    table = (ROOT / "docs" / "DICOM.md").read_text(encoding="utf-8").split("## Findings")[1]
    named = {
        code
        for line in table.splitlines()
        if line.startswith("| `")
        for code in re.findall(r"`([a-z0-9_]+)`", line.split("|")[1])
    }
    assert named == set(RULES)


@pytest.mark.parametrize("name", GUIDES)
def test_every_section_of_a_config_is_described(name: str) -> None:
    text = _guide(name)
    for section in GUIDES[name].model_fields:
        assert f"`{section}" in text, section


@pytest.mark.parametrize("name", GUIDES)
def test_the_configs_of_a_guide_are_valid(name: str, tmp_path: Path) -> None:
    configs = re.findall(r"```yaml\n(task: .*?)```", _guide(name), re.DOTALL)
    assert configs
    for config in configs:
        path = tmp_path / "task.yaml"
        path.write_text(config, encoding="utf-8")
        assert isinstance(load_task(path), GUIDES[name])


def test_every_option_of_every_verb_is_described() -> None:
    text = "".join(_guide(name) for name in GUIDES)
    options = {
        option
        for verb in lepton.commands.values()
        for one in verb.params
        if isinstance(one, click.Option)
        for option in one.opts
        if option.startswith("--")
    }
    assert sorted(option for option in options if not re.search(rf"`[^`\n]*{option}\b", text)) == []


def test_the_plans_are_what_the_planner_says_today() -> None:
    document = run_path(str(ROOT / "benchmarks" / "plans.py"))["document"]
    assert (ROOT / "docs" / "PLANS.md").read_text(encoding="utf-8") == document()


def test_no_link_of_a_document_is_broken() -> None:
    for document in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "sample_data" / "README.md"]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_python_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands there, but for the folders, and for a training of seconds."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    write_export(tmp_path / "export", 6)
    write_patient(tmp_path / "new", 20, label=False)
    task = CONFIG.format(root="nowhere").replace("ball:", "tumour:")
    (tmp_path / "task.yaml").write_text(task, encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"folder": str(tmp_path / "new")}
    for block in blocks:
        code = block.replace("/data/export", str(tmp_path / "export"))
        exec(code.replace("/data/new", str(tmp_path / "new")), names)  # noqa: S102 - our own README
    assert len(list((tmp_path / "masks").glob("*/mask.nii.gz"))) == 1
    assert names["volume"].array.shape == SHAPE


def _guide(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")
