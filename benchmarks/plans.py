"""What the planner chooses: `python benchmarks/plans.py > docs/PLANS.md`.

Four kinds of images on three machines, without a clock: each plan is of the heaviest training that the
memory can bear; steps, precision and perhaps a lighter rung are measured when a training starts.
"""

import numpy as np

from lepton_monai.data.fingerprint import Fingerprint, Values
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import ImagePlan, Plan, Triple
from lepton_monai.training.devices import Machine
from lepton_monai.training.pace import FEWEST_STEPS, SAMPLES_A_CASE
from lepton_monai.training.planner import LADDERS, Task, draft_plan
from lepton_monai.training.shape import Shape, memory_gb

Spacing = tuple[float, float, float]


def _found(spacing_mm: Spacing, voxels: Triple, unit: str) -> Fingerprint:
    x, y, z = (float(np.round(a * b, 3)) for a, b in zip(spacing_mm, voxels, strict=True))
    return Fingerprint(spacing_mm, (x, y, z), (Values(-120.0, 240.0, 60.0, 70.0, (unit,)),))


IMAGES: dict[str, Fingerprint] = {
    "CT, 512 x 512 x 300 voxels of 0.7 x 0.7 x 1.5 mm": _found((0.7, 0.7, 1.5), (512, 512, 300), "HU"),
    "MR, 320 x 320 voxels of 0.7 mm, 24 slices of 5 mm": _found((0.7, 0.7, 5.0), (320, 320, 24), "1"),
    "PET, 40 x 60 x 40 voxels of 5.5 x 5.5 x 3.27 mm": _found((5.5, 5.5, 3.27), (40, 60, 40), "SUVbw"),
    "Hippocampus on MR, 36 x 50 x 35 voxels of 1 mm": _found((1.0, 1.0, 1.0), (36, 50, 35), "1"),
}

MACHINES: dict[str, Machine] = {
    "2 cores, 24 GB": Machine("cpu", 24.0),
    "a GPU of 12 GB": Machine("gpu", 12.0),
    "a GPU of 140 GB": Machine("gpu", 140.0),
}

SHOWN = (
    "preparation.spacing_mm",
    "preparation.intensity",
    "network.channels",
    "network.kernels",
    "network.strides",
    "network.supervised",
    "training.patch_size",
    "training.batch_size",
    "training.augmentation.flip_axes",
)
"""Values with a reason that depends on the data or the machine."""


def plan_of(found: Fingerprint, machine: Machine) -> Plan:
    """Return the plan of a task with one class."""
    unit = found.values[0].units[0]
    image = ImagePlan(name="image", file_format="dicom", modality=None, description=None, unit=unit)
    return draft_plan(Task((image,), ("lesion",)), found, PlanOptions(minutes=20, seed=0), machine).plan


def document() -> str:
    """Return the whole document."""
    parts = [_HEAD]
    for name, found in IMAGES.items():
        parts += [f"## {name}", _table(found)]
        plan = plan_of(found, MACHINES["2 cores, 24 GB"])
        reasons = [f"- `{value}`: {plan.reasons[value]}." for value in SHOWN]
        parts += ["On two cores, because:", "\n".join(reasons)]
    return "\n\n".join(parts) + "\n"


def _table(found: Fingerprint) -> str:
    rows = ["| | " + " | ".join(MACHINES) + " |", "| --- |" + " --- |" * len(MACHINES)]
    plans = [plan_of(found, machine) for machine in MACHINES.values()]
    lines = {
        "spacing (mm)": [_by(plan.preparation.spacing_mm) for plan in plans],
        "intensity": [plan.preparation.intensity.scheme for plan in plans],
        "patch": [_by(plan.training.patch_size) for plan in plans],
        "batch": [str(plan.training.batch_size) for plan in plans],
        "channels": [", ".join(map(str, plan.network.channels)) for plan in plans],
        "kernels": [", ".join(_by(one) for one in plan.network.kernels) for plan in plans],
        "strides": [", ".join(_by(one) for one in plan.network.strides) for plan in plans],
        "outputs trained": [str(plan.network.supervised + 1) for plan in plans],
        "memory, estimated (GB)": [
            f"{_memory_gb(plan, machine):.1f}"
            for plan, machine in zip(plans, MACHINES.values(), strict=True)
        ],
    }
    return "\n".join([*rows, *(f"| {name} | {' | '.join(cells)} |" for name, cells in lines.items())])


def _memory_gb(plan: Plan, machine: Machine) -> float:
    network = plan.network
    shape = Shape(plan.training.patch_size, network.channels, network.kernels, network.strides)
    return memory_gb(shape, plan.training.batch_size, 4 if machine.kind == "cpu" else 2)


def _by(values: tuple[float, ...]) -> str:
    return " x ".join(f"{value:g}" for value in values)


def _ladder(kind: str) -> str:
    return "; ".join(f"{rung.width}, {rung.patch_voxels:,}" for rung in LADDERS[kind])


_HEAD = f"""# Plans

What `lepton train --dry-run` would choose for four kinds of images on three machines. This page is made by
`benchmarks/plans.py`, and a test compares it with the planner.

A plan follows from the training images (median spacing and extent, the foreground's values), from the
memory, and from the time. The last one is measured: a training starts with a few real steps on the heaviest
rung that the memory can bear, and goes down until enough steps fit into `train.minutes`
({FEWEST_STEPS["cpu"]:,} on a CPU, {FEWEST_STEPS["gpu"]:,} on a GPU; on a CPU so many, too, that every
training case gives {SAMPLES_A_CASE["cpu"]} patches). What was measured is frozen into `plan.yaml`, so that
time never decides a result. Every value can be given instead, under `plan:` in the
config, by the names of `plan.yaml`.

| | rungs: channels of the first level, voxels of a patch |
| --- | --- |
| CPU | {_ladder("cpu")} |
| GPU | {_ladder("gpu")} |"""


if __name__ == "__main__":
    print(document(), end="")  # noqa: T201 - this is a program
