"""What `train` wants of a task: the parts of the one story that differ."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from lepton_monai.cases.split import Split
from lepton_monai.config.load import AnyConfig
from lepton_monai.core.findings import Finding
from lepton_monai.core.progress import Progress
from lepton_monai.core.pseudonyms import Pseudonyms, load_pseudonyms
from lepton_monai.data.fingerprint import Fingerprint
from lepton_monai.exports.progress_picture import Patch
from lepton_monai.plans.run import Run
from lepton_monai.training.loop import Feeding, Looking, Source
from lepton_monai.training.training import Trained, Training
from lepton_monai.verbs.preparing import Cache

RESERVE = 0.03
"""Share of the minutes that is kept back for writing and for a machine that gets slower."""

PlanKind = TypeVar("PlanKind", bound=Trained)
Judged = TypeVar("Judged")
"""What a model is judged on after its training."""

Figures = TypeVar("Figures", covariant=True)


@dataclass(frozen=True)
class Setting:
    """Where and how a training is made ready.

    Parameters
    ----------
    given_pseudonyms
        Name cases and patients; None: by the user's salt.
    given_cache
        Of prepared cases; None: in the user's cache folder.
    feeding
        Device and processes of the training.
    began
        When the verb started, as `time.perf_counter` has it: the minutes count from there.
    progress
        Told how far it is.
    """

    given_pseudonyms: Pseudonyms | None
    given_cache: Cache | None
    feeding: Feeding
    began: float
    progress: Progress

    @property
    def pseudonyms(self) -> Pseudonyms:
        """Names of cases and patients; a further rank never asks."""
        return self.given_pseudonyms or load_pseudonyms()

    @property
    def cache(self) -> Cache:
        """Where prepared cases are kept."""
        return self.given_cache or Cache.of_user()

    def seconds_left(self, minutes: float) -> float:
        """Return what is left of the minutes that a training may take."""
        return minutes * 60 * (1 - RESERVE) - (time.perf_counter() - self.began)


@dataclass(frozen=True, eq=False)
class Ready(Generic[PlanKind, Judged]):
    """What is ready before the first step.

    Parameters
    ----------
    plan
        Every number.
    source
        What the training is fed with, in this process and in those of further ranks.
    trained_on
        How many cases, or samples of a classifier.
    validation
        What the model is judged on afterwards.
    split
        Who stands where.
    images
        SHA-256 of the images of training and validation, by pseudonym.
    read
        What stands for all that was read of them: a resumed training wants the same.
    findings
        Of cases that are left out, or remarks, by pseudonym.
    fingerprint
        What the training cases look like, where the plan followed from it.
    looking
        At the validation side during the training, where the plan has patience.
    """

    plan: PlanKind
    source: Source
    trained_on: int
    validation: Judged
    split: Split
    images: Mapping[str, str]
    read: Mapping[str, list[str]]
    findings: tuple[tuple[str, Finding], ...]
    fingerprint: Fingerprint | None = None
    looking: Looking | None = None


class TrainingTask(Protocol[PlanKind, Judged, Figures]):
    """A kind of task that can be trained."""

    @property
    def config(self) -> AnyConfig:
        """What the user wants."""
        ...

    def read_plan(self, path: Path) -> PlanKind:
        """Read a plan of this kind."""
        ...

    def draft(self, pseudonyms: Pseudonyms, device: torch.device, progress: Progress) -> PlanKind:
        """Plan everything that needs no clock; training cases alone are opened."""
        ...

    def prepare(self, given: PlanKind | None, setting: Setting) -> Ready[PlanKind, Judged]:
        """Make ready what the training and its validation need; test cases are never opened."""
        ...

    def network(self, plan: PlanKind) -> torch.nn.Module:
        """Build the network with random weights from torch's own generator."""
        ...

    def training(
        self,
        plan: PlanKind,
        device: torch.device,
        network: torch.nn.Module,
        pretrained: Collection[str] = (),
    ) -> Training:
        """Return a training of a network at its first step."""
        ...

    def patch(self, plan: PlanKind, image: torch.Tensor, label: torch.Tensor) -> Patch:
        """Return one of the samples that the network is fed with, to look at."""
        ...

    def settle(
        self, run: Run, training: Training, ready: Ready[PlanKind, Judged], setting: Setting
    ) -> None:
        """Do what comes between the last step and the writing of the model."""
        ...

    def judge(self, run: Run, ready: Ready[PlanKind, Judged], setting: Setting) -> Figures | None:
        """Judge the model as it was written on the validation cases; None: there are none."""
        ...
