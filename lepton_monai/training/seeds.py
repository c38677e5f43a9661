"""The one place that seeds torch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Give torch's own generator (initialisation, dropout) a seed, and its old state back."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # noqa: TID251 - this is the one place
        yield


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """Compute with algorithms that give the same bytes each time, on a fixed number of threads."""
    algorithms = torch.are_deterministic_algorithms_enabled()
    before = torch.get_num_threads()
    # On CUDA some interpolations have no such algorithm: they warn instead of failing.
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(algorithms)
        torch.set_num_threads(before)
