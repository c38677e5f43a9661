import pytest
import torch

from lepton_monai.core.errors import ConfigError, DeviceError
from lepton_monai.training.devices import choose_device


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "CUDA", ""])
def test_an_unknown_device_is_a_usage_error(name: str) -> None:
    with pytest.raises(ConfigError, match="Unknown device"):
        choose_device(name)


def test_a_device_that_is_absent_is_a_fault_of_the_machine() -> None:
    with pytest.raises(DeviceError, match="There is no device `cuda:99`"):
        choose_device("cuda:99")


def test_auto_takes_what_is_there() -> None:
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
