"""What `lepton info` prints: text for a person, and the same as one document."""

from typing import TYPE_CHECKING, Any

from lepton_monai.cli.tables import table

if TYPE_CHECKING:  # the verb's own command imports it; the others shall not pay for it
    from lepton_monai.verbs.info import InfoReport


def info_text(found: "InfoReport", freed_bytes: int | None = None) -> str:
    """Return versions, machine, what is kept where, and what a run is made of."""
    parts = [
        ", ".join(f"{name} {version}" for name, version in found.versions.items()),
        "\n".join(found.machine),
        table(
            ("kept on this machine", "files", "MB", "where"),
            [
                (one.what, str(one.files), f"{one.size_bytes / 1e6:.1f}", str(one.path))
                for one in found.kept
            ],
        ),
    ]
    parts += [
        "\n".join([f"{run.folder}: {run.task}", *(f"  {line}" for line in run.lines)]) for run in found.runs
    ]
    if freed_bytes is not None:
        parts.append(f"{freed_bytes / 1e6:.1f} MB were removed; they are made again where they are needed.")
    elif any(one.files for one in found.kept):
        parts.append("`lepton info --purge` removes what is kept of patients: index and prepared images.")
    return "\n\n".join(parts)


def info_document(found: "InfoReport", freed_bytes: int | None = None) -> dict[str, Any]:
    """Return the same as one document."""
    return {
        "schema_version": 1,
        "versions": found.versions,
        "machine": list(found.machine),
        "kept": [
            {"what": one.what, "where": str(one.path), "files": one.files, "bytes": one.size_bytes}
            for one in found.kept
        ],
        "runs": [
            {"run": str(one.folder), "task": one.task, "lines": list(one.lines)} for one in found.runs
        ],
        "purged_bytes": freed_bytes,
    }
