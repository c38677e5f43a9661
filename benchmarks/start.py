"""How long a start takes, as ratios in one run: `python benchmarks/start.py`.

CPU seconds of whole processes, the median of several; each beside an interpreter that does nothing,
and the index of the sample export beside pydicom's own reading of the same headers.
"""

import argparse
import resource
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXPORT = ROOT / "sample_data" / "export"
LEPTON = "from lepton_monai.cli.main import main; main()"
PYDICOM = """
import sys, pathlib, warnings, pydicom
warnings.simplefilter("ignore")
for path in pathlib.Path(sys.argv[1]).rglob("*"):
    if path.is_file():
        try:
            pydicom.dcmread(path, stop_before_pixels=True)
        except Exception:  # junk on purpose: whatever it raises, the time on it counts
            pass
"""


def cpu_seconds(arguments: list[str], runs: int) -> float:
    """Return the median CPU seconds of a process, the first run left out."""
    taken = []
    for _ in range(runs + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], cwd=ROOT, check=True, capture_output=True)  # noqa: S603
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(taken[1:])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    nothing = cpu_seconds(["-c", "pass"], runs)
    rows = [
        ("python that does nothing", nothing, nothing),
        ("lepton --help", cpu_seconds(["-c", LEPTON, "--help"], runs), nothing),
        ("pydicom, headers of the sample export", cpu_seconds(["-c", PYDICOM, str(EXPORT)], runs), nothing),
    ]
    index = cpu_seconds(["-c", LEPTON, "index", str(EXPORT), "--quiet"], runs)
    rows.append(("lepton index, the same export", index, rows[-1][1]))
    print(f"{'what':40} {'CPU s':>7} {'ratio':>6}")  # noqa: T201 - this is a program
    for name, seconds, against in rows:
        print(f"{name:40} {seconds:7.3f} {seconds / against:6.1f}")  # noqa: T201 - this is a program


if __name__ == "__main__":
    main()
