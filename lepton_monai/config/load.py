"""Read a config: all mistakes at once, each with its line and the nearest known key."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from lepton_monai.config.classification import ClassificationConfig
from lepton_monai.config.schema import Config
from lepton_monai.core.errors import ConfigError
from lepton_monai.core.files import write_text
from lepton_monai.core.wording import ALIKE, counted, nearest
from lepton_monai.networks.known import known_weights

Place = tuple[str | int, ...]

_PATHS = (
    ("data", "root"),
    ("data", "patients"),
    ("data", "labels", "table"),
    ("data", "clinical", "table"),
    ("split", "file"),
    ("network", "weights"),
    ("network", "weights_dir"),
)

AnyConfig = Config | ClassificationConfig
OneConfig = TypeVar("OneConfig", Config, ClassificationConfig)

_KINDS: dict[str, type[AnyConfig]] = {
    "segmentation": Config,
    "classification": ClassificationConfig,
}


def load_config(path: str | Path, changes: Sequence[str] = ()) -> Config:
    """Read and validate the config of a segmentation; otherwise like `load_task`."""
    return _of_kind(load_task(path, changes), Config, path)


def load_classification(path: str | Path, changes: Sequence[str] = ()) -> ClassificationConfig:
    """Read and validate the config of a classification; otherwise like `load_task`."""
    return _of_kind(load_task(path, changes), ClassificationConfig, path)


def load_task(path: str | Path, changes: Sequence[str] = ()) -> AnyConfig:
    """Read and validate a config, of whatever task.

    Parameters
    ----------
    path
        YAML. Paths inside are relative to its folder.
    changes
        ``KEY=VALUE``, the key with dots, the value as YAML; paths are relative to the working folder.

    Raises
    ------
    ConfigError
        With every mistake, its line and the nearest key.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        message = f"The config {path} can't be read: {error.strerror}."
        raise ConfigError(message) from error
    except UnicodeDecodeError as error:
        message = f"The config {path} is no text in UTF-8."
        raise ConfigError(message) from error
    try:
        content = yaml.safe_load(text) or {}
        lines = dict(_lines(yaml.compose(text, Loader=yaml.SafeLoader), ()))
    except (yaml.YAMLError, RecursionError) as error:
        message = f"The config {path} is no YAML: {_reason(error)}."
        raise ConfigError(message) from error
    if not isinstance(content, dict):
        message = f"The config {path} must be a mapping, such as `task: segmentation`."
        raise ConfigError(message)
    _resolve_paths(content, path.resolve().parent)
    for change in changes:
        _apply(content, change)
    kind = _kind_of(content, path)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        given = [tuple(change.partition("=")[0].strip().split(".")) for change in changes]
        errors = _without_twins(kind, error.errors())
        found = [(one, {} if _is_given(one["loc"], given) else lines) for one in errors]
        problems = [text for _, text in sorted(_problem(kind, one, where) for one, where in found)]
        message = "\n".join([f"The config {path} has {counted(len(problems), 'mistake')}:", *problems])
        raise ConfigError(message) from error


def _kind_of(content: Mapping[str, Any], path: Path) -> type[AnyConfig]:
    """Return the kind of config that a task has; what else is a mistake depends on it."""
    task = str(content.get("task") or "")
    if task in _KINDS:
        return _KINDS[task]
    said = f"`{task}` is no task; the nearest is `{nearest(task, _KINDS)}`" if task else "`task` is missing"
    message = f"The config {path}: {said}. Give {' or '.join(f'`task: {name}`' for name in _KINDS)}."
    raise ConfigError(message)


def _reason(error: Exception) -> str:
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    return f"line {mark.line + 1}: {problem}" if mark and problem else type(error).__name__


def _is_given(place: Place, given: Sequence[Place]) -> bool:
    """Tell whether `--set` gave what stands at a place, so that a line of the file is not to blame."""
    return any(place[: len(one)] == one for one in given)


def _of_kind(config: AnyConfig, kind: type[OneConfig], path: str | Path) -> OneConfig:
    if not isinstance(config, kind):
        message = f"The config {path} is of `task: {config.task}`; another task is wanted here."
        raise ConfigError(message)
    return config


def write_config(config: AnyConfig, path: Path) -> None:
    """Write a config as resolved, with every default."""
    content = config.model_dump(mode="json")
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def _lines(node: yaml.Node | None, place: Place) -> Iterator[tuple[Place, int]]:
    if node is not None:
        yield place, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield (*place, key.value), key.start_mark.line + 1
            yield from ((p, n) for p, n in _lines(value, (*place, key.value)) if p[len(place) + 1 :])
    elif isinstance(node, yaml.SequenceNode):
        for at, item in enumerate(node.value):
            yield from _lines(item, (*place, at))


def _resolve_paths(content: dict[str, Any], folder: Path) -> None:
    for *sections, key in _PATHS:
        values: Any = content
        for section in sections:
            values = values.get(section) if isinstance(values, dict) else None
        if isinstance(values, dict) and isinstance(values.get(key), str) and not _is_known(values[key]):
            values[key] = str(folder / Path(values[key]).expanduser())


def _is_known(weights: str) -> bool:
    """Tell weights that are known by name from a path."""
    return weights in known_weights()


def _apply(content: dict[str, Any], change: str) -> None:
    name, equals, text = change.partition("=")
    keys = name.strip().split(".")
    if not equals or not all(keys):
        message = f"--set {change}: give it as KEY=VALUE, such as --set train.minutes=10."
        raise ConfigError(message)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        message = f"--set {change}: the value is no YAML: {error}."
        raise ConfigError(message) from error
    if tuple(keys) in _PATHS and isinstance(value, str) and not _is_known(value):
        value = str(Path(value).expanduser().resolve())
    section = content
    for key in keys[:-1]:
        below = section.setdefault(key, {})
        if not isinstance(below, dict):
            message = f"--set {change}: `{key}` is no section of the config."
            raise ConfigError(message)
        section = below
    section[keys[-1]] = value


def _without_twins(kind: type[AnyConfig], errors: Sequence[Any]) -> list[Any]:
    """Leave out each missing key for which a misspelt one stands: that one is told, with its line."""
    unknown = [one["loc"] for one in errors if one["type"] == "extra_forbidden"]
    meant = {
        (*section, nearest(str(key), _known_keys(kind, tuple(section)), ALIKE)) for *section, key in unknown
    }
    return [one for one in errors if one["type"] != "missing" or one["loc"] not in meant]


def _problem(
    kind: type[AnyConfig], error: Mapping[str, Any], lines: Mapping[Place, int]
) -> tuple[int, str]:
    """Return the line of a mistake (0: of `--set`) and what is wrong."""
    place = tuple(error["loc"])
    known = [place[:end] for end in range(len(place), 0, -1) if place[:end] in lines]
    line = lines[known[0]] if known else 0
    where = f"  line {line}" if line else "  --set"
    name = ".".join(str(part) for part in place)
    if error["type"] == "extra_forbidden":
        known_key = nearest(str(place[-1]), _known_keys(kind, place[:-1]))
        return line, f"{where}: `{name}` is no key; the nearest is `{known_key}`."
    if error["type"] == "missing":
        way = "; give it in the config or with --set data.root=FOLDER"
        return line, f"{where}: `{name}` is missing{way if name == 'data.root' else ''}."
    said = error["msg"].removeprefix("Value error, ").removesuffix(".")
    return line, f"{where}: `{name}`: {said[0].lower()}{said[1:]}."


def _known_keys(config: type[AnyConfig], place: Place) -> list[str]:
    """Return the keys of the section at a place of the config."""
    kind: Any = config
    for part in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        if get_origin(kind) in {Union, UnionType}:
            kind = next((one for one in get_args(kind) if one is not type(None)), None)
    is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
    return list(kind.model_fields) if is_section else list(config.model_fields)
