"""Weight files that want to run code, lie or are broken: none is executed, each is refused."""

import io
import json
import struct
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from lepton_monai.core.errors import LeptonError, WeightsError
from lepton_monai.networks.weights import read_weights

LEAST_FILES = 60
LONGEST_S = 10.0

MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # pickled numbers that begin a torch file of old
LEGACY_HEAD = MAGIC + bytes.fromhex("80024de9032e") + b"\x80\x02}."

GOOD = {"conv.weight": torch.arange(24.0).reshape(2, 3, 4), "conv.bias": torch.ones(2)}


def test_no_hostile_weight_file_is_executed_and_each_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    files = list(_files(marker))
    assert len(files) >= LEAST_FILES
    assert len({content for _, content in files}) == len(files)
    executed, accepted, slow = [], [], []
    for name, content in files:
        path = tmp_path / "weights.pt"
        path.write_bytes(content)
        started = time.perf_counter()
        try:
            read_weights(path)
            accepted.append(name)
        except LeptonError as error:
            message = str(error)
            assert str(path) in message, name
            assert message.replace(str(path), "").isprintable(), name
        if time.perf_counter() - started > LONGEST_S:
            slow.append(name)
        if marker.exists():
            executed.append(name)
            marker.unlink()
    print(f"{len(files)} hostile weight files: {len(executed)} executed, {len(accepted)} accepted")
    assert executed == []
    assert accepted == []
    assert slow == []


def test_the_files_that_the_hostile_ones_are_made_from_are_read(tmp_path: Path) -> None:
    pairs = {"zip": _saved(), "legacy": _saved(legacy=True), "safetensors": save(GOOD), "made": _tensor()}
    for name, content in pairs.items():
        (tmp_path / name).write_bytes(content)
        assert read_weights(tmp_path / name), name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("deflate bomb", r"claims 400\d+ bytes and has \d{5}\."),
        ("a byte array of a terabyte", "asks for a byte array"),
        ("tensor of terabytes by strides of zero", r"holds `a` as \(1000000, 1000000\), more than the"),
    ],
)
def test_a_bomb_is_refused_by_what_it_claims_before_it_is_unpacked(
    tmp_path: Path, name: str, said: str
) -> None:
    (tmp_path / "bomb.pt").write_bytes(dict(_lies_of_tensors())[name])
    with pytest.raises(WeightsError, match=said):
        read_weights(tmp_path / "bomb.pt")


def _files(marker: Path) -> Iterator[tuple[str, bytes]]:
    for name, pickled in _payloads(str(marker)).items():
        yield f"{name}, bare", pickled
        yield f"{name}, legacy", LEGACY_HEAD + pickled
        yield f"{name}, zip", _zipped({"data.pkl": pickled})
    yield from _lies_of_tensors()
    yield from _lies_of_safetensors()
    yield from _no_weights()
    for kind, whole in (("zip", _saved()), ("legacy", _saved(legacy=True)), ("safetensors", save(GOOD))):
        for share in (0.05, 0.3, 0.6, 0.95):
            yield f"{kind}, cut at {share}", whole[: int(share * len(whole))]


def _payloads(marker: str) -> dict[str, bytes]:
    """Return pickles that make the marker where they are run."""
    text = marker.encode()
    make = _text(f"open({marker!r}, 'w').close()")
    touch = _text(f"touch {marker}")
    head = b"\x80\x02"
    opened = b"c__builtin__\nopen\n(" + _text(marker) + _text("w") + b"tR"
    return {
        "os.system": head + b"cos\nsystem\n(" + touch + b"tR.",
        "posix.system": head + b"cposix\nsystem\n(" + touch + b"tR.",
        "eval": head + b"c__builtin__\neval\n(" + make + b"tR.",
        "exec": head + b"cbuiltins\nexec\n(" + make + b"tR.",
        "open": head + opened + b".",
        "open inside a state dict": head + b"}" + _text("conv.weight") + opened + b"s.",
        "Popen": head + b"csubprocess\nPopen\n(](" + _text("touch") + _text(marker) + b"etR.",
        "Popen, NEWOBJ": head + b"csubprocess\nPopen\n(](" + _text("touch") + _text(marker) + b"et\x81.",
        "INST": head + b"(" + touch + b"ios\nsystem\n.",
        "OBJ": head + b"(cos\nsystem\n" + touch + b"o.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93(" + touch + b"tR.",
        "in a persistent id": head + b"(" + _text("storage") + opened + b"tQ.",
        "through torch": head + b"ctorch.utils.collect_env\nrun\n(" + touch + b"tR.",
        "through numpy": head + b"cnumpy.testing._private.utils\nrunstring\n(" + make + b"}tR.",
        "protocol 0": b"cos\nsystem\n(S'touch " + text + b"'\ntR.",
    }


def _lies_of_tensors() -> Iterator[tuple[str, bytes]]:
    yield "storage larger than its record", _tensor(size=(10**6,), numel=10**6)
    yield "storage of terabytes", _tensor(numel=2**40)
    yield "storage of less than nothing", _tensor(numel=-1)
    yield "tensor larger than its storage", _tensor(size=(10**9,))
    yield "tensor of terabytes by strides of zero", _tensor(size=(10**6, 10**6), stride=(0, 0))
    yield "tensor of negative size", _tensor(size=(-5,))
    yield "storage of an unknown type", _tensor(storage=b"EvilStorage")
    zeros = b"\0" * (4 * 10**7)
    yield "deflate bomb", _tensor(size=(10**7,), numel=10**7, data=zeros, compression=zipfile.ZIP_DEFLATED)
    yield "no storage", _zipped({"data.pkl": _pickled_tensor((10,), (1,), 10, b"FloatStorage")})
    yield "NaN", _saved({"w": torch.tensor([1.0, float("nan")])})
    yield "infinity", _saved({"w": torch.tensor([1.0, float("inf")])})
    yield "sparse", _saved({"w": torch.eye(3).to_sparse()})
    yield "meta", _saved({"w": torch.empty(3, device="meta")})
    yield "complex", _saved({"w": torch.ones(3, dtype=torch.complex64)})
    yield "a number as name", _saved({3: torch.ones(2)})
    yield "NaN as name", _saved({float("nan"): torch.ones(2)})
    yield "nothing as name", _saved({None: torch.ones(2)})
    yield "a name of a megabyte", _saved({"x" * 2**20: torch.ones(2)})
    yield "no tensors", _saved({"epoch": 3, "\x1b[2J": "\x07"})
    yield "a tensor alone", _saved(torch.ones(3))
    yield "a list", _saved([torch.ones(3)])
    array = b"\x80\x02c__builtin__\nbytearray\n\x8a\x06" + (2**40).to_bytes(6, "little") + b"\x85R."
    yield "a byte array of a terabyte", _zipped({"data.pkl": array})
    deep = b"\x80\x02" + b"]" * 10**6 + b"a" * (10**6 - 1) + b"."
    yield "a million lists in each other", _zipped({"data.pkl": deep})
    for levels in (22, 29, 200):
        pairs = b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(levels))
        twice = b"\x80\x02})q\x00" + pairs + b"K\x01s."
        yield f"tuples that hold each other twice, {levels} levels, as name", _zipped({"data.pkl": twice})
        yield f"tuples that hold each other twice, {levels} levels, legacy", LEGACY_HEAD + twice
    yield "TorchScript's file names", _zipped({"data.pkl": b"\x80\x02}.", "constants.pkl": b"\x80\x02)."})


def _lies_of_safetensors() -> Iterator[tuple[str, bytes]]:
    good = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    lies = {
        "offsets beyond the end": {**good, "data_offsets": [0, 2**40]},
        "offsets backwards": {**good, "data_offsets": [8, 0]},
        "negative offsets": {**good, "data_offsets": [-8, 0]},
        "a shape of exabytes": {**good, "shape": [2**31, 2**31, 2**31]},
        "a shape that isn't its bytes": {**good, "shape": [3]},
        "a negative shape": {**good, "shape": [-2]},
        "an unknown type": {**good, "dtype": "PICKLE"},
        "no offsets": {"dtype": "F32", "shape": [2]},
    }
    for name, lie in lies.items():
        yield f"safetensors, {name}", _safetensors(json.dumps({"w": lie}).encode())
    yield "safetensors, two over each other", _safetensors(json.dumps({"v": good, "w": good}).encode())
    yield "safetensors, NaN in the header", _safetensors(b'{"w": NaN}')
    yield "safetensors, no JSON", _safetensors(b"{" + b"\xff" * 40)
    yield "safetensors, deep", _safetensors(b'{"w":' * 10**5)
    yield "safetensors, a name that isn't one", _safetensors(json.dumps({"x" * 2**20: good}).encode())
    for length in (2**63, 2**40, 10**8, 200):
        yield f"safetensors, a header of {length}", struct.pack("<Q", length) + b"{" + b" " * 60
    yield "safetensors, NaN", save({"w": torch.tensor([float("nan")])})
    yield "safetensors, empty", save({})


def _no_weights() -> Iterator[tuple[str, bytes]]:
    yield "nothing", b""
    yield "zeros", b"\0" * 4096
    yield "text", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
    yield "HTML", b"<!DOCTYPE html><html>404</html>"
    yield "gzip", b"\x1f\x8b\x08\0\0\0\0\0"
    yield "a zip of other things", _zipped({"readme.txt": b"hello"})
    yield "a zip's head alone", b"PK\x03\x04" + b"\xff" * 60
    yield "a pickle's head alone", b"\x80\x02"
    yield "a pickle of noise", b"\x80\x02" + bytes(range(256)) * 4


def _text(text: str) -> bytes:
    content = text.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def _number(number: int) -> bytes:
    content = number.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def _saved(content: object = None, *, legacy: bool = False) -> bytes:
    file = io.BytesIO()
    torch.save(GOOD if content is None else content, file, _use_new_zipfile_serialization=not legacy)
    return file.getvalue()


def _zipped(records: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in {**records, "version": b"3\n", "byteorder": b"little"}.items():
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


def _pickled_tensor(size: tuple[int, ...], stride: tuple[int, ...], numel: int, storage: bytes) -> bytes:
    """Pickle ``{"a": tensor}`` as torch.save does, with what it says of itself."""
    kept = b"(" + _text("storage") + b"ctorch\n" + storage + b"\n" + _text("0") + _text("cpu")
    shape = b"(" + b"".join(map(_number, size)) + b"t(" + b"".join(map(_number, stride)) + b"t"
    tensor = (
        b"(" + kept + _number(numel) + b"tQ" + _number(0) + shape + b"\x89ccollections\nOrderedDict\n)Rt"
    )
    return b"\x80\x02}" + _text("a") + b"ctorch._utils\n_rebuild_tensor_v2\n" + tensor + b"Rs."


def _tensor(
    size: tuple[int, ...] = (10,),
    stride: tuple[int, ...] = (1,),
    numel: int = 10,
    storage: bytes = b"FloatStorage",
    data: bytes = b"\0" * 40,
    compression: int = zipfile.ZIP_STORED,
) -> bytes:
    pickled = _pickled_tensor(size, stride, numel, storage)
    return _zipped({"data.pkl": pickled, "data/0": data}, compression)


def _safetensors(header: bytes, content: bytes = b"\0" * 8) -> bytes:
    return struct.pack("<Q", len(header)) + header + content
