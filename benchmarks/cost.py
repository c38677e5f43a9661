"""What a piece of work costs: CPU seconds and peak memory, and the table of bounds that judges it.

Standard library alone, so that it runs in the environment of any reader. CPU time, not wall: other
processes may be at work. Linux tells the peak of a process since it was last asked.
"""

import gc
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bound:
    """A line of the table: what was found, beside what is promised."""

    what: str
    found: float
    bound: float
    at_least: bool = False

    @property
    def holds(self) -> bool:
        """Whether the promise is kept."""
        return self.found >= self.bound if self.at_least else self.found <= self.bound


def cpu_seconds(work: Callable[[], object], runs: int) -> float:
    """Return the least CPU seconds of several runs, those of child processes included."""
    taken = []
    for _ in range(runs):
        gc.collect()
        before = _spent()
        result = work()
        taken.append(_spent() - before)
        del result  # its memory is given back outside of the clock
    return min(taken)


def _spent() -> float:
    parts = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in parts) + _of_live_children()


def _of_live_children() -> float:
    """Return the CPU seconds of child processes that live on, such as a decoder: rusage counts the dead."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    # Nanoseconds on a CPU come first: proc(5). A clock tick would be too coarse.
    return sum(int(Path(f"/proc/{child}/schedstat").read_text().split()[0]) for child in children) / 1e9


def peak_bytes(work: Callable[[], object]) -> int:
    """Return by how much the resident memory has been above that of now while the work was done."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew: proc(5)
    before = _status("VmRSS")
    result = work()
    peak = _status("VmHWM")
    del result
    return peak - before


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:"))


def cpu_of_each(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Return the least CPU seconds of every work; they take turns, so that a slow minute is everyone's."""
    least = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            least[name] = min(least[name], cpu_seconds(work, 1))
    return least


def judge(bounds: Sequence[Bound]) -> None:
    """Print the table; exit with 1 where a bound is missed."""
    print(f"{'what':74} {'bound':>9} {'found':>7}")  # noqa: T201 - this is a program
    for one in bounds:
        sign = ">=" if one.at_least else "<="
        verdict = "holds" if one.holds else "MISSED"
        print(f"{one.what:74} {sign} {one.bound:6.2f} {one.found:7.2f}  {verdict}")  # noqa: T201 - as above
    sys.exit(0 if all(one.holds for one in bounds) else 1)
