"""What the whole test run shares: reasons for skips, and the real data where they lie."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples each time, so that a failure can be met again; `--hypothesis-seed` draws others.
settings.register_profile("house", derandomize=True, deadline=None)
settings.load_profile("house")

CHECKOUT = Path(__file__).parent.parent
DATA = CHECKOUT.parent / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-data", action="store_true", help="fail without the real data")


def pytest_configure() -> None:
    """Keep the indexes of the test run out of the user's own cache, and its workers to a core each."""
    folder = tempfile.mkdtemp(prefix="lepton-test-cache-")
    os.environ["XDG_CACHE_HOME"] = folder
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what can't run here, each with its reason; with --require-data fail instead."""
    reasons = {"gpu": "" if _has_gpu() else "needs a CUDA device; there is none"}
    if not DATA.is_dir():
        if config.getoption("--require-data"):
            message = "--require-data: the real data are not in ../shared/data beside the checkout"
            raise pytest.UsageError(message)
        reasons["data"] = "needs the real data in ../shared/data beside the checkout; not there"
    for item in items:
        for marker, reason in reasons.items():
            if reason and item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))  # no GPU, or no data: told above


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


@pytest.fixture
def data_folder() -> Path:
    """Return the folder of the real data: for tests marked `data`."""
    return DATA
