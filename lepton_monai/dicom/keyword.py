"""One coded value of a file by its DICOM keyword, such as Modality."""

from pathlib import Path

from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword

from lepton_monai.core.errors import ConfigError, FileRefused
from lepton_monai.core.findings import Finding
from lepton_monai.core.wording import nearest
from lepton_monai.dicom.dataset import foreign_file, read_head

CODED = "CS"
"""Code strings alone: any other text may name somebody, and would stand in reports."""


def require_coded(keyword: str) -> None:
    """Raise unless a keyword of the standard holds a code string.

    Raises
    ------
    ConfigError
        There is no such keyword, or it holds something else.
    """
    tag = tag_for_keyword(keyword)
    if tag is None or dictionary_VR(tag) != CODED:
        coded = [one for one, of in keyword_dict.items() if dictionary_VR(of) == CODED]
        none = f"is none, the nearest is `{nearest(keyword, coded)}`"
        found = none if tag is None else f"holds {dictionary_VR(tag)}"
        message = f"`{keyword}` {found}; a keyword of a coded value ({CODED}) is wanted, such as Modality."
        raise ConfigError(message)


def read_coded(path: Path, keyword: str) -> str:
    """Read a coded value; empty where the file has none, the first of several.

    Raises
    ------
    FileRefused
        The file can't be read.
    """
    try:
        with foreign_file():
            value = read_head(path).get(keyword)
        if value is None:
            return ""
        return str(value if isinstance(value, str) else next(iter(value), "")).strip()
    except Exception as error:  # the border: a foreign file may raise anything
        message = f"The header can't be read ({type(error).__name__})."
        raise FileRefused(Finding("unreadable_file", message, path=path)) from error
