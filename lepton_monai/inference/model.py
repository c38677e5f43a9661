"""Trained networks with the plans that prepare their input."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lepton_monai.core.errors import InputError
from lepton_monai.core.volume import Volume
from lepton_monai.core.wording import counted
from lepton_monai.data.transforms import prepare
from lepton_monai.inference.loading import require_one_task, weights_digest, with_weights_of
from lepton_monai.inference.native import Probabilities, classes_on_grid
from lepton_monai.inference.window import class_probabilities
from lepton_monai.labels.labelset import Mask
from lepton_monai.networks.build import network_of
from lepton_monai.plans.plan import Plan
from lepton_monai.plans.run import Run


@dataclass(frozen=True, eq=False)
class Member:
    """One network of a model, in evaluation mode, with the plan that it was trained by."""

    network: torch.nn.Module
    plan: Plan


@dataclass(frozen=True, eq=False)
class Model:
    """Networks that predict together, ready to do so.

    Parameters
    ----------
    members
        One, or one a fold: then the mean of their probabilities counts.
    device
        Where they compute.
    digest
        SHA-256 of the weights.
    """

    members: tuple[Member, ...]
    device: torch.device
    digest: str

    @property
    def plan(self) -> Plan:
        """Of the first network; all have its image and its classes."""
        return self.members[0].plan

    def predict(self, volume: Volume, further: Sequence[Volume] = ()) -> Mask:
        """Segment a volume on its own grid.

        Parameters
        ----------
        volume, further
            The images of a case: the first one, and those that go with it.

        Raises
        ------
        InputError
            The values of an image have another unit than those that the network was trained on.
        """
        if len(further) != len(self.plan.further):
            names = ", ".join(one.name for one in self.plan.images)
            message = f"The model is for {names}; {counted(1 + len(further), 'image')} given."
            raise InputError(message)
        for one, plan in zip((volume, *further), self.plan.images, strict=True):
            if one.unit != plan.unit:
                message = (
                    f"The values of `{plan.name}` are in {one.unit}, the model was trained on {plan.unit}."
                )
                raise InputError(message)
        return Mask(self._classes(volume, further), volume.grid)

    def _classes(self, volume: Volume, further: Sequence[Volume]) -> NDArray[np.uint8]:
        found = [self._probabilities(member, volume, further) for member in self.members]
        return classes_on_grid(found, volume.grid)

    def _probabilities(self, member: Member, volume: Volume, further: Sequence[Volume]) -> Probabilities:
        prepared = prepare(volume, None, member.plan.preparation, further)
        array = class_probabilities(member.network, prepared.image, member.plan, self.device)
        return Probabilities(array, prepared.grid)


def load_model(runs: Sequence[Run], device: torch.device) -> Model:
    """Load the newest whole checkpoint of each run.

    Raises
    ------
    InputError
        There is none, it is damaged, its weights don't fit the plan's network, or the runs are of
        different tasks.
    """
    members = tuple(_member(run, device) for run in runs)
    require_one_task(runs, [(member.plan.classes, member.plan.images) for member in members])
    torch.set_num_threads(members[0].plan.training.threads)
    return Model(members, device, weights_digest(runs))


def _member(run: Run, device: torch.device) -> Member:
    plan = run.plan()
    return Member(with_weights_of(run, network_of(plan), device), plan)
