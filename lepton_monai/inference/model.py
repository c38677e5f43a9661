"""A trained network with the plan that prepares its input."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file

from lepton_monai.core.errors import InputError
from lepton_monai.core.volume import Volume
from lepton_monai.data.transforms import prepare
from lepton_monai.inference.native import classes_on_grid
from lepton_monai.inference.window import class_probabilities
from lepton_monai.labels.labelset import Mask
from lepton_monai.networks.build import build_network
from lepton_monai.plans.plan import Plan
from lepton_monai.plans.run import Run


@dataclass(frozen=True, eq=False)
class Model:
    """A network, ready to predict.

    Parameters
    ----------
    network
        In evaluation mode, on `device`.
    plan
        That it was trained by.
    device
        Where it computes.
    """

    network: torch.nn.Module
    plan: Plan
    device: torch.device

    def predict(self, volume: Volume) -> Mask:
        """Segment a volume on its own grid.

        Raises
        ------
        InputError
            The volume's values have another unit than those that the network was trained on.
        """
        wanted = self.plan.image.unit
        if volume.unit != wanted:
            message = f"The values are in {volume.unit}, the model was trained on {wanted}."
            raise InputError(message)
        return Mask(self._classes(volume), volume.grid)

    def _classes(self, volume: Volume) -> NDArray[np.uint8]:
        prepared = prepare(volume, None, self.plan.preparation)
        probabilities = class_probabilities(self.network, prepared.image, self.plan, self.device)
        return classes_on_grid(probabilities, prepared.grid, volume.grid)


def load_model(run: Run, device: torch.device) -> Model:
    """Load the newest whole checkpoint of a run.

    Raises
    ------
    InputError
        There is none, it is damaged, or its weights don't fit the plan's network.
    """
    plan = run.plan()
    network = build_network(plan.network, len(plan.classes), plan.training.patch_size)
    path = run.weights_path()
    try:
        network.load_state_dict(load_file(path))
    except (RuntimeError, ValueError) as error:
        message = f"The weights of {run.folder} don't fit the network of its plan."
        raise InputError(message) from error
    torch.set_num_threads(plan.training.threads)
    return Model(network.eval().to(device), plan, device)
