"""The border for weights from outside: tensors come in, code never runs.

Read are safetensors files, torch files (of tensors alone), MONAI bundles and our own runs.
"""

import mmap
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import load_file

from lepton_monai.core.errors import WeightsError
from lepton_monai.core.wording import ALIKE, nearest
from lepton_monai.networks.known import known_weights
from lepton_monai.plans.run import Run

STATE_KEYS = (
    "state_dict",
    "model_state_dict",
    "network_weights",
    "model",
    "network",
    "net",
    "model_state",
    "weights",
    "params",
)
"""Under which a checkpoint keeps its tensors: Lightning, torch's tutorials, nnU-Net, MONAI, timm."""

DEEPEST_STATE = 3
"""Levels of dictionaries that are looked through."""

BUNDLE_FILES = ("models/model.safetensors", "model.safetensors", "models/model.pt", "model.pt")

LONGEST_NAME = 512
"""Characters; the longest of a real network seen has 90."""

LARGEST_TUPLE = 10**5
"""Members, those of inner tuples counted as often as they are held; sizes and arguments have a few."""

LONGEST_PICKLE = 5 * 10**5
"""Steps; a tensor takes about 25."""

LEGACY_PICKLES = 5
"""That a torch file of old begins with, before its values."""

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
_UNPICKLER = re.compile(r"WeightsUnpickler error:\s*(.+)")

# A pickle may ask for an array of any length by a number: torch allows it, no weights need it.
_BYTE_ARRAYS = (b"c__builtin__\nbytearray\n", b"cbuiltins\nbytearray\n")


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """Read the tensors of a weight file, by name, on the CPU.

    Parameters
    ----------
    path
        A safetensors file; a torch file with a state dict, at the top or under a usual key; the folder of a
        MONAI bundle or of one of our runs (its newest whole checkpoint).

    Returns
    -------
    weights
        As stored: names with their prefixes, types as they are; every value is finite.

    Raises
    ------
    WeightsError
        There is nothing of that kind, it is damaged, it wants more than tensors (nothing of it is run), it
        claims more than the file holds, or a value is NaN or infinite.
    InputError
        A run without a finished checkpoint, or with a damaged one.
    """
    file = weights_file(path)
    head = _head_of(file)
    if head[8:9] == b"{":
        weights = _read_safetensors(file)
    elif head.startswith((b"PK\x03\x04", b"\x80")):
        weights = _state_dict(_read_torch(file, is_zip=head.startswith(b"PK")), file)
    else:
        raise _refused(file, "is no weight file: it begins like neither safetensors nor a torch file")
    _require_sound(weights, file)
    return weights


def weights_file(path: Path) -> Path:
    """Return the file that holds the weights of a file, a bundle or a run.

    Raises
    ------
    WeightsError
        The folder holds none.
    InputError
        A run without a finished checkpoint, or with a damaged one.
    """
    if not path.exists():
        known = nearest(path.name, known_weights(), ALIKE)  # a misspelt name was taken for a path
        meant = f"; the nearest name of known weights is `{known}`" if known else ""
        raise _refused(path, f"doesn't exist{meant}")
    if not path.is_dir():
        return path
    if (path / "checkpoints").is_dir():
        return Run(path).weights_path()
    for name in BUNDLE_FILES:
        if (path / name).is_file():
            return path / name
    looked = ", ".join(("checkpoints/", *BUNDLE_FILES))
    raise _refused(path, f"holds no weights: looked for {looked}")


def _head_of(file: Path) -> bytes:
    if file.exists() and not file.is_file():  # a pipe would never answer
        raise _refused(file, "is no file")
    try:
        with file.open("rb") as stream:
            return stream.read(9)
    except OSError as error:
        raise _refused(file, f"can't be read: {error.strerror or error}") from error


def _read_safetensors(file: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(file)
    except Exception as error:  # the border: its own class, torch's, memory
        raise _refused(file, f"is damaged: {_reason(error)}") from error


def _read_torch(file: Path, *, is_zip: bool) -> Any:
    _require_plain(file, is_zip=is_zip)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of newer pickles and of TorchScript, both refused below
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # the border: a pickle can raise anything
        wanted = _GLOBAL.search(str(error))
        if wanted:
            why = (
                f"wants more than tensors: it asks for `{wanted[1][:80]}`, which could run code, so "
                "nothing of it was run. Save its state dict alone, best as safetensors, where you trust it"
            )
            raise _refused(file, why) from error
        raise _refused(file, f"is damaged, or holds more than tensors: {_reason(error)}") from error


def _require_plain(file: Path, *, is_zip: bool) -> None:
    try:
        size = file.stat().st_size
        with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
            asks = any(content.find(name) >= 0 for name in _BYTE_ARRAYS)
        claimed = _claimed_bytes(file) if is_zip else 0
        largest = max(_tuples_in_zip(file) if is_zip else _tuples_in_legacy(file))
    except Exception as error:  # the border: zipfile raises many kinds
        raise _refused(file, f"is damaged or cut: {_reason(error)}") from error
    if asks:
        raise _refused(file, "asks for a byte array, which no weights need")
    if largest > LARGEST_TUPLE:
        raise _refused(file, "holds tuples that hold each other, endless to go through")
    # torch never compresses: a compressed record, or records over each other, is a bomb.
    if claimed > size:
        raise _refused(file, f"claims {claimed} bytes and has {size}")


def _claimed_bytes(file: Path) -> int:
    with zipfile.ZipFile(file) as archive:
        return sum(record.file_size for record in archive.infolist())


def _tuples_in_zip(file: Path) -> list[int]:
    with zipfile.ZipFile(file) as archive:
        records = [name for name in archive.namelist() if name.endswith(".pkl")]
        return [0, *(_largest_tuple(archive.open(name)) for name in records)]


def _tuples_in_legacy(file: Path) -> list[int]:
    with file.open("rb") as stream:
        return [_largest_tuple(stream) for _ in range(LEGACY_PICKLES) if stream.peek(1)]


def _largest_tuple(stream: IO[bytes]) -> int:
    """Return the members of a pickle's largest tuple, without making it: to hash it goes through all."""
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[int, int] = {}
    largest = 0
    for step, (code, argument, _) in enumerate(pickletools.genops(stream)):
        if step > LONGEST_PICKLE:
            message = f"more than {LONGEST_PICKLE} steps"
            raise ValueError(message)
        if code.name == "MARK":
            marks.append(len(stack))
        elif code.name in {"BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"}:
            memo[len(memo) if argument is None else argument] = stack[-1]
        elif code.name in {"BINGET", "LONG_BINGET", "GET"}:
            stack.append(memo[int(argument or 0)])
        elif code.name == "DUP":
            stack.append(stack[-1])
        else:
            to_mark = pickletools.markobject in code.stack_before
            rest = code.stack_before.index(pickletools.markobject) if to_mark else len(code.stack_before)
            first = (marks.pop() if to_mark else len(stack)) - rest
            held = min(sum(stack[first:]), LARGEST_TUPLE + 1)
            del stack[first:]
            is_tuple = code.name.endswith(("TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"))
            stack += [1 + held if is_tuple else 1] * len(code.stack_after)
            largest = max(largest, held) if is_tuple else largest
    return largest


def _state_dict(content: Any, file: Path) -> dict[str, torch.Tensor]:
    found = _tensors_in(content, DEEPEST_STATE)
    if found is None:
        if isinstance(content, Mapping):
            held = "the keys " + ", ".join(shown(key) for key in list(content)[:8])
        else:
            held = f"a {type(content).__name__}"
        wanted = ", ".join(STATE_KEYS)
        raise _refused(
            file, f"holds no state dict, but {held}; tensors by name are wanted, or one of {wanted}"
        )
    return found


def _tensors_in(content: Any, levels: int) -> dict[str, torch.Tensor] | None:
    """Return the tensors of a mapping, or of the first usual key below it; None: there are none."""
    if not isinstance(content, Mapping) or levels == 0:
        return None
    for key in STATE_KEYS:
        found = _tensors_in(content.get(key), levels - 1)
        if found is not None:
            return found
    # What isn't a tensor beside them (a version, an extra state) says nothing to a network.
    return {
        key: value.detach() for key, value in content.items() if isinstance(value, torch.Tensor)
    } or None


def _require_sound(weights: Mapping[Any, torch.Tensor], file: Path) -> None:
    if not weights:
        raise _refused(file, "holds no tensors")
    size = file.stat().st_size
    for name, tensor in weights.items():
        if not isinstance(name, str) or len(name) > LONGEST_NAME:
            raise _refused(file, f"names a tensor {shown(name)}, which is no name")
        unsound = _unsound(tensor, size)
        if unsound:
            raise _refused(file, f"holds `{shown(name)}` {unsound}")


def _unsound(tensor: torch.Tensor, size: int) -> str:
    """Say what a tensor has that no weights have; nothing where it is sound."""
    if tensor.layout != torch.strided or tensor.device.type != "cpu":
        return f"as {tensor.layout} on {tensor.device}, and no values in plain order"
    if tensor.is_quantized or tensor.is_complex():
        return f"as {tensor.dtype}: real numbers are wanted"
    # A view with strides of zero is as large as it likes to be.
    if tensor.numel() * tensor.element_size() > size:
        return f"as {tuple(tensor.shape)}, more than the {size} bytes of the file"
    # The types of eight bits have no isfinite.
    values = tensor.float() if tensor.element_size() == 1 else tensor
    return "" if torch.isfinite(values).all() else "with NaN or infinities, as after a training that failed"


def _reason(error: BaseException) -> str:
    text = str(error).strip() or type(error).__name__
    inner = _UNPICKLER.search(text)  # behind a page of advice to load the file without protection
    return shown(re.split(r"\.(?:\s|$)|\n", inner[1] if inner else text)[0])


def shown(name: object, longest: int = 120) -> str:
    """Cut what a file says, with its control characters visible; of what is no text, its type."""
    # Tuples that hold each other twice are short in a file, and endless as text.
    text = name if isinstance(name, str) else f"({type(name).__name__})"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text[:longest])


def _refused(path: Path, why: str) -> WeightsError:
    return WeightsError(f"{path} {why}.")


def first_names(weights: Mapping[str, torch.Tensor], most: int = 4) -> str:
    """Return the first names with their shapes, for a message."""
    return listed((f"{shown(name)} {tuple(tensor.shape)}" for name, tensor in weights.items()), most)


def listed(texts: Iterable[str], most: int) -> str:
    """Join the first texts, and count the rest."""
    every = list(texts)
    more = f", and {len(every) - most} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more
