"""A plan for tests: small, with every value in sight."""

from lepton_monai.plans.plan import (
    SCHEMA,
    AugmentationPlan,
    ImagePlan,
    IntensityPlan,
    NetworkPlan,
    Plan,
    PredictionPlan,
    PreparationPlan,
    TrainingPlan,
    Triple,
)


def example_plan(
    *,
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0),
    intensity: IntensityPlan | None = None,
    patch_size: Triple = (16, 16, 16),
    classes: tuple[str, ...] = ("lesion",),
    unit: str = "HU",
) -> Plan:
    """Return a plan for a tiny U-Net on CT."""
    return Plan(
        schema_version=SCHEMA,
        classes=classes,
        image=ImagePlan(name="ct", file_format="dicom", modality="CT", description=None, unit=unit),
        preparation=PreparationPlan(
            spacing_mm=spacing_mm,
            intensity=intensity or IntensityPlan(scheme="window", low=-100.0, high=100.0),
        ),
        network=NetworkPlan(
            name="unet", channels=(4, 8), kernels=((3, 3, 3),) * 2, strides=((1, 1, 1), (2, 2, 2))
        ),
        training=TrainingPlan(
            patch_size=patch_size,
            batch_size=2,
            steps=6,
            loss="dice_cross_entropy",
            optimizer="adamw",
            schedule="polynomial",
            learning_rate=1e-2,
            weight_decay=1e-2,
            warm_up_steps=2,
            average_decay=0.5,
            clip_norm=12.0,
            foreground_share=0.5,
            precision="float32",
            channels_last=False,
            compiled=False,
            threads=1,
            seed=0,
            augmentation=AugmentationPlan(
                flip_axes=(0, 1, 2),
                rotation_probability=0.5,
                rotation_rad=(0.2, 0.2, 0.2),
                zoom_probability=0.5,
                zoom=(0.9, 1.1),
                noise_probability=0.5,
                blur_probability=0.5,
                brightness_probability=0.5,
                contrast_probability=0.5,
                low_resolution_probability=0.5,
                gamma_probability=0.5,
            ),
        ),
        prediction=PredictionPlan(overlap=0.5, mirror_axes=()),
        reasons={"training.steps": "a test has little time"},
    )
