"""What the training of a segmentation has of its own: prepared cases, patches, masks that are judged."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from lepton_monai.cases.case import Case
from lepton_monai.cases.collect import collect
from lepton_monai.cases.split import split_cases
from lepton_monai.config.schema import Config
from lepton_monai.core.progress import Progress
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.exports.progress_picture import Patch
from lepton_monai.inference.model import load_model
from lepton_monai.networks.build import network_of
from lepton_monai.plans.options import PlanOptions
from lepton_monai.plans.plan import ImagePlan, Plan, read_plan
from lepton_monai.plans.run import SEGMENTATION, Run
from lepton_monai.training.devices import machine_of
from lepton_monai.training.pace import measured_plan
from lepton_monai.training.planner import Task, draft_plan
from lepton_monai.training.segmentation import patches_of, segmentation_training
from lepton_monai.training.training import Training
from lepton_monai.verbs.evaluate import Evaluation, Judging, evaluate_cases
from lepton_monai.verbs.preparing import Measured, fingerprint_of, measured_cases, prepared_cases
from lepton_monai.verbs.requirements import (
    apart,
    require_same_task,
    require_some,
    voxels_of,
)
from lepton_monai.verbs.starting import weights_path, with_weights
from lepton_monai.verbs.training_task import Ready, Setting

SHAPE = ("name", "channels", "kernels", "strides", "supervised", "arguments")
"""What a network has to have in common with the weights of the run that it starts from."""

Validation = tuple[Case, ...]


@dataclass(frozen=True)
class SegmentationTask:
    """A segmentation that can be trained: see `TrainingTask`."""

    config: Config

    def read_plan(self, path: Path) -> Plan:
        """Read a plan."""
        return read_plan(path)

    def draft(self, pseudonyms: Pseudonyms, device: torch.device, progress: Progress) -> Plan:
        """Plan the heaviest training that memory can bear."""
        data = self.config.data_choice()
        split = split_cases(collect(data, pseudonyms, progress).cases, self.config.split.rule())
        training = measured_cases(split.train, data, [], progress)
        require_some(training)
        found = fingerprint_of(training)
        return draft_plan(self._task(training), found, self._options(), machine_of(device)).plan

    def prepare(self, given: Plan | None, setting: Setting) -> Ready[Plan, Validation]:
        """Measure and prepare the training cases, one open at a time, and plan what there is time for."""
        # Which cases there are, and who stands where.
        data, options, progress = self.config.data_choice(), self._options(), setting.progress
        collection = collect(data, setting.pseudonyms, progress)
        split = split_cases(collection.cases, self.config.split.rule())
        findings = [*collection.findings, *(("split", finding) for finding in split.findings)]
        # What they look like: training and validation alone are opened, one case at a time.
        training = measured_cases(split.train, data, findings, progress)
        validation = measured_cases(split.validation, data, findings, progress)
        require_some(training)
        validation = apart(training, validation, findings)
        # The plan: all of it that needs no clock; every training case on its grid; then the clock.
        found, task = fingerprint_of(training), self._task(training)
        if given is None:
            draft = draft_plan(task, found, options, machine_of(setting.feeding.device))
            cases = prepared_cases(training, data, draft.plan.preparation, setting.cache, progress)
            left = setting.seconds_left(options.minutes)
            plan = measured_plan(draft, list(cases.values()), setting.feeding, left, len(validation))
        else:
            plan = given
            require_same_task(plan, task)
            cases = prepared_cases(training, data, plan.preparation, setting.cache, progress)
        return Ready(
            plan=plan,
            source=patches_of(cases, plan),
            trained_on=len(cases),
            validation=tuple(one.case for one in validation),
            split=split,
            images={one.case.pseudonym: one.digest for one in (*training, *validation)},
            read=voxels_of((*training, *validation)),
            findings=tuple(findings),
            fingerprint=found,
        )

    def network(self, plan: Plan) -> torch.nn.Module:
        """Build the network of a plan."""
        return network_of(plan)

    def training(
        self, plan: Plan, device: torch.device, network: torch.nn.Module, pretrained: Collection[str] = ()
    ) -> Training:
        """Return a training at its first step."""
        return segmentation_training(plan, device, network, pretrained)

    def patch(self, plan: Plan, image: torch.Tensor, label: torch.Tensor) -> Patch:  # noqa: ARG002
        """Return a patch with its label."""
        return Patch(image[0].numpy(), label[0].numpy())

    def settle(
        self, run: Run, training: Training, ready: Ready[Plan, Validation], setting: Setting
    ) -> None:
        """Leave the model as it is."""

    def judge(self, run: Run, ready: Ready[Plan, Validation], setting: Setting) -> Evaluation | None:
        """Judge the model on the validation cases, on their own grids."""
        if not ready.validation:
            return None
        return evaluate_cases(
            load_model([run], setting.feeding.device),
            run,
            "validation",
            ready.validation,
            self.config.data_choice(),
            judging=Judging(**self.config.evaluate.model_dump()),
            progress=setting.progress,
        )

    def _options(self) -> PlanOptions:
        options, path = self.config.plan_options(), weights_path(self.config.network)
        if path is None:
            return options
        shape = {}
        if Run(path).plan_path.is_file() and Run(path).task == SEGMENTATION:
            network = Run(path).plan().network
            shape = {f"network.{name}": getattr(network, name) for name in SHAPE}
        return with_weights(options, path, shape)

    def _task(self, training: Sequence[Measured]) -> Task:
        data = self.config.data_choice()
        images = [
            ImagePlan(
                name=image.name,
                file_format="nifti" if data.label.source == "nifti" else "dicom",
                modality=image.modality,
                description=image.description,
                unit=unit,
            )
            for image, unit in zip(data.images, training[0].measurement.units, strict=True)
        ]
        return Task(tuple(images), data.label.labels.names)
