"""What scanners said of diffusion in private elements, before the standard had its own for it."""

from lepton_monai.dicom.elements import (
    MAKERS_B_VALUE,
    MAKERS_GRADIENT,
    TAGS,
    Elements,
    Vector,
    packed,
    private_tags,
)

HIGHEST_B_VALUE = 20_000.0
"""In s/mm2: what is above is no b-value."""

FLAGS = 100_000.0
"""GE lays flags over its b-values, as multiples of this: 1000000050 is 50."""

MAKERS = {
    "SiemensBValue": ("SiemensGradient",),
    "GeBValue": ("GeGradientX", "GeGradientY", "GeGradientZ"),
    "PhilipsBValue": ("PhilipsGradientX", "PhilipsGradientY", "PhilipsGradientZ"),
}
"""Where each maker's scanners put the b-value and the direction of its gradient."""

_B_VALUES = frozenset(tag for name in MAKERS for tag in private_tags(name))


def private_diffusion(elements: Elements) -> Elements:
    """Return b-value and gradient of an image whose maker alone says them; else nothing.

    The gradient is in axes of the maker's own: it tells images apart, and is never stated as a direction.

    Parameters
    ----------
    elements
        Of the data set.
    """
    is_mr = elements.get(TAGS["Modality"], b"").strip(b" \0") == b"MR"
    if not is_mr or TAGS["DiffusionBValue"] in elements or _B_VALUES.isdisjoint(elements):
        return Elements()
    for name, axes in MAKERS.items():
        value = _numbers(elements, name)[:1]
        if not value or not 0 <= (b_value := value[0] % FLAGS) <= HIGHEST_B_VALUE:
            continue
        gradient = [number for axis in axes for number in _numbers(elements, axis)]
        found = Elements({MAKERS_B_VALUE: packed(MAKERS_B_VALUE, [b_value])})
        if len(gradient) == 3:
            found[MAKERS_GRADIENT] = packed(MAKERS_GRADIENT, gradient)
        return found
    return Elements()


def _numbers(elements: Elements, name: str) -> Vector:
    try:
        return elements.private(name) or elements.unclaimed(name)
    except ValueError:
        return ()  # another maker's element of the same number
