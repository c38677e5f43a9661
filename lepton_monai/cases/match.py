"""Which label belongs to which image: the referenced series decides, never a guess."""

from collections.abc import Collection, Sequence

from lepton_monai.core.findings import Finding
from lepton_monai.core.wording import counted
from lepton_monai.dicom import Series
from lepton_monai.dicom.annotation import Annotation
from lepton_monai.labels.labelset import LabelSet


def match_labels(
    images: Sequence[Series], annotations: Sequence[Annotation], labels: LabelSet
) -> tuple[dict[int, Annotation], dict[int, list[str]], list[Finding]]:
    """Give every image its label object.

    Parameters
    ----------
    images
        Series that may be labelled.
    annotations
        Label objects of one source; those without a region of any class label nothing.
    labels
        The classes.

    Returns
    -------
    matched
        From the place in `images` to its label.
    unwanted
        From the place in `images` to the names of regions in label objects without any class.
    findings
        `label_ambiguous` for an image with two, `referenced_instances_absent` as a remark.
    """
    candidates: dict[int, list[Annotation]] = {}
    unwanted: dict[int, list[str]] = {}
    for annotation in annotations:
        telling = any(labels.matches(names) for names in annotation.region_names)
        for at in _images_of(annotation, images):
            if telling:
                candidates.setdefault(at, []).append(annotation)
            else:
                unwanted.setdefault(at, []).extend(names[0] for names in annotation.region_names)
    findings: list[Finding] = []
    matched: dict[int, Annotation] = {}
    for at in sorted(candidates):
        found = candidates[at]
        if len(found) > 1:
            message = f"{len(found)} label objects fit one series."
            findings.append(Finding("label_ambiguous", message, images[at].uid))
            continue
        matched[at] = found[0]
        present = {header.identity.instance_uid for header in images[at].headers}
        referenced = found[0].referenced_instance_uids
        if referenced and not referenced & present:
            message = f"Of {counted(len(referenced), 'instance')} that the label names none is here."
            findings.append(Finding("referenced_instances_absent", message, images[at].uid))
    return matched, unwanted, findings


def labels_without_image(
    annotations: Sequence[Annotation], labels: LabelSet, there: Collection[str]
) -> list[Finding]:
    """Return a finding for every label of a class whose images aren't here.

    Parameters
    ----------
    annotations
        Label objects of one source.
    labels
        The classes.
    there
        UIDs of all series that are here, whether they are wanted, usable or refused.
    """
    return [
        Finding("label_without_image", "The images that a label was drawn on aren't here.", path=one.path)
        for one in annotations
        if one.referenced_series_uids
        and not set(one.referenced_series_uids) & set(there)
        and any(labels.matches(names) for names in one.region_names)
    ]


def _images_of(annotation: Annotation, images: Sequence[Series]) -> list[int]:
    """Return the places of the images that a label was drawn on: one, or none."""
    if annotation.referenced_series_uids:
        named = [at for at, one in enumerate(images) if one.uid in annotation.referenced_series_uids]
        # A series that was split has parts of one UID: the instances tell them apart.
        return named if len(named) <= 1 else _by_instances(annotation, images, named)
    everywhere = list(range(len(images)))
    if annotation.referenced_instance_uids:
        return _by_instances(annotation, images, everywhere)
    frame = annotation.identity.frame_of_reference_uid
    same_frame = [
        at for at, one in enumerate(images) if frame and one.identity.frame_of_reference_uid == frame
    ]
    return same_frame if len(same_frame) == 1 else []


def _by_instances(annotation: Annotation, images: Sequence[Series], places: Sequence[int]) -> list[int]:
    found = [
        at
        for at in places
        if annotation.referenced_instance_uids
        & {header.identity.instance_uid for header in images[at].headers}
    ]
    return found if len(found) == 1 else []
