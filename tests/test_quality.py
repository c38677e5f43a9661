"""The house rules, held by the test run: lint, format, types, layers, sizes, names."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import lepton_monai

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "lepton_monai"
MODULES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SOURCES = [*MODULES, *TESTS, *sorted((ROOT / "sample_data").glob("*.py"))]
BIN = Path(sys.executable).parent

LONGEST_MODULE = 400

PUBLIC_NAMES = {
    "lepton_monai": [
        "check",
        "convert",
        "evaluate",
        "explain",
        "index",
        "info",
        "load_config",
        "predict",
        "train",
    ],
    "lepton_monai.dicom": [
        "Index",
        "RefusedSeries",
        "Series",
        "read_series",
        "regularise",
        "repair",
        "scan",
    ],
    "lepton_monai.data": ["LoadDicomd", "VolumeReader"],
}


@pytest.mark.parametrize(
    "command",
    [
        ["ruff", "check", "--no-fix"],
        ["ruff", "format", "--check"],
        ["mypy"],
        ["lint-imports"],
    ],
    ids=" ".join,
)
def test_the_linters_have_nothing_to_say(command: list[str]) -> None:
    done = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_has_at_most_400_lines(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= LONGEST_MODULE, f"{lines} lines: two ideas in one module?"


def test_every_folder_of_tests_has_a_room_of_that_name() -> None:
    folders = [
        path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and path.name[0] not in "._"
    ]
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir()} | {"sample_data"}
    assert set(folders) <= rooms


def test_error_classes_live_in_one_file() -> None:
    elsewhere = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in MODULES
        if path != PACKAGE / "core" / "errors.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef)
        and any(
            isinstance(base, ast.Name) and base.id.endswith(("Error", "Exception")) for base in node.bases
        )
    ]
    assert elsewhere == []


def test_the_public_names_are_the_expected_ones() -> None:
    for name, expected in PUBLIC_NAMES.items():
        module = __import__(name, fromlist=["__all__"])
        assert sorted(module.__all__) == expected
        assert all(inspect.getdoc(getattr(module, one)) for one in expected)


def test_a_parameters_section_names_parameters_alone() -> None:
    wrong = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and "Parameters\n" in (ast.get_docstring(node) or ""):
                listed = [*node.args.args, *node.args.kwonlyargs, node.args.kwarg]
                arguments = {one.arg for one in listed if one is not None} - {"self", "cls"}
                unknown = _documented(ast.get_docstring(node) or "") - arguments
                wrong += [f"{path.name}:{node.name}: {name}" for name in sorted(unknown)]
    assert wrong == []


def _documented(docstring: str) -> set[str]:
    section = docstring.split("Parameters\n----------\n")[1].split("\n\nR")[0].split("\n\nN")[0]
    names = [line for line in section.splitlines() if line and not line.startswith(" ")]
    return {name.strip() for line in names for name in line.split(":")[0].split(",")}


def test_no_light_command_imports_torch() -> None:
    """`importlib.import_module` would pass the linters: look at what is really loaded."""
    code = (
        "import sys, lepton_monai, lepton_monai.dicom, lepton_monai.verbs.index, lepton_monai.cli.main;"
        "heavy = {'torch', 'monai', 'SimpleITK'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_package_has_its_version_in_one_place() -> None:
    assert lepton_monai.__version__.count(".") == 2
