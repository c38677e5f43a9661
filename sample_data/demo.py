"""`./lepton demo`: the way from raw DICOM to masks, on the sample export, as a user would type it."""

import argparse
import sys
import time
from pathlib import Path

from lepton_monai.cli.main import run
from lepton_monai.core.errors import PartlyDoneError

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the verbs one after the other in a new folder; end with where things are."""
    parser = argparse.ArgumentParser(prog="lepton demo", description=__doc__)
    parser.add_argument("--out", type=Path, help="the folder to make [default: lepton-demo/NUMBER]")
    parser.add_argument("--steps", help="to train [default: as in sample_data/demo.yaml]")
    arguments = parser.parse_args()
    out = arguments.out or _new_folder(Path.cwd() / "lepton-demo")
    changes = ["--set", f"plan.training.steps={arguments.steps}"] if arguments.steps else []
    config, export = str(HERE / "demo.yaml"), str(HERE / "export")
    trained, predicted = str(out / "run"), str(out / "predictions")
    steps = [
        ("What lies in the export, and what can't be used", ["index", export]),
        ("What would be trained on", ["check", config, "--pictures", str(out / "labels")]),
        ("A network, from random weights", ["train", config, "--run", trained, *changes]),
        ("How good it is on patients that it never saw", ["evaluate", trained]),
        ("Masks for every CT of the export", ["predict", trained, export, "--out", predicted]),
    ]
    began = time.monotonic()
    for number, (title, command) in enumerate(steps, start=1):
        _say(f"\n=== {number}. {title}\n$ lepton {' '.join(command)}\n")
        code = run(command)
        if code not in {0, PartlyDoneError.exit_code}:  # two series of the export are refused by design
            return code
    _say(
        f"\n=== Done in {time.monotonic() - began:.0f} s\n"
        f"labels as drawn   {out / 'labels'}\n"
        f"figures           {out / 'run' / 'evaluation' / 'test' / 'report.html'}\n"
        f"masks (NIfTI)     {predicted}/CASE/mask.nii.gz\n"
        f"pictures          {predicted}/CASE/overlay.png\n"
        f"who CASE is       {predicted}/key.json\n"
        "\nThe refused series are named above, with the reason and what to do. The same on your own\n"
        'data: README.md, "Your own data".'
    )
    return 0


def _new_folder(base: Path) -> Path:
    """Return the first free number below a folder: nothing is ever written over."""
    return next(base / str(n) for n in range(1, sys.maxsize) if not (base / str(n)).exists())


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is a program


if __name__ == "__main__":
    sys.exit(main())
