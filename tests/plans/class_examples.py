"""A plan of a classification for tests: small, with every value in sight."""

from dataclasses import replace

from lepton_monai.plans.classification import (
    SCHEMA,
    ClassificationPlan,
    ClassifierPlan,
    ClassTrainingPlan,
    InputPlan,
    ScalePlan,
    SourcePlan,
)
from tests.plans.examples import example_plan


def example_classification(*, channels: int = 1, **training: object) -> ClassificationPlan:
    """Return a plan for two classes of pictures; `training` changes values of that part."""
    scale = ScalePlan("none", 0.0, 1.0, (0.0,) * channels, (1.0,) * channels)
    plain = ClassTrainingPlan(
        batch_size=4,
        steps=6,
        optimizer="adamw",
        schedule="cosine",
        learning_rate=1e-2,
        pretrained_rate=1.0,
        frozen=(),
        weight_decay=1e-2,
        warm_up_steps=2,
        average_decay=0.5,
        clip_norm=5.0,
        label_smoothing=0.0,
        mixup=0.0,
        class_weights=(1.0, 1.0),
        shift=0.1,
        precision="float32",
        channels_last=False,
        compiled=False,
        threads=1,
        seed=0,
        augmentation=replace(
            example_plan().training.augmentation,
            flip_axes=(0,),
            rotation_rad=(0.0, 0.0, 0.3),
            blur_probability=0.0,
            low_resolution_probability=0.0,
        ),
    )
    return ClassificationPlan(
        schema_version=SCHEMA,
        task="classification",
        classes=("bar", "disc"),
        holds="one",
        source=SourcePlan("picture", "picture", "image", None, None, ("1",)),
        input=InputPlan((16, 12, 1), None, channels, scale),
        network=ClassifierPlan("resnet10", {"widen_factor": 0.125}),
        training=replace(plain, **training),  # type: ignore[arg-type] # of whatever type it has
        reasons={"training.steps": "a test has little time"},
    )
