import pytest

from lepton_monai.training.pace import fewest_steps


@pytest.mark.parametrize(
    ("cases", "batch_size", "steps"),
    [(12, 2, 1000), (57, 2, 1000), (58, 2, 1015), (160, 2, 2800), (160, 6, 1000), (161, 3, 1879)],
)
def test_on_a_cpu_a_training_meets_every_case_35_times(cases: int, batch_size: int, steps: int) -> None:
    assert fewest_steps("cpu", cases, batch_size) == steps


def test_on_a_gpu_the_number_of_cases_decides_nothing() -> None:
    assert fewest_steps("gpu", 12, 2) == fewest_steps("gpu", 1000, 2) == 5000
