"""Progress: a bar for a person, a line a minute for a log."""

import os
import pty
import re
import subprocess
import sys
from itertools import count

import pytest

from lepton_monai.cli.bars import Lines

SHOWN = """
from lepton_monai.cli.bars import Bars
bars = Bars()
for step in (0, 50, 100):
    bars.report("training", step, 200, f"loss {step}")
for _ in bars.track(range(3), "reading", 3):
    bars._bars.refresh()
bars.say("a [finding]")
bars.close()
"""


def test_a_log_gets_a_line_a_minute_and_one_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    seconds = count(1000, 25)  # between two looks at the clock
    lines = Lines(clock=lambda: float(next(seconds)))
    for step in range(50, 501, 50):
        lines.report("training", step, 500, f"loss {1 / step:.3f}")
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert said[0] == "training: 50 of 500, loss 0.020"
    assert said[1] == "training: 200 of 500, loss 0.005, 2.0 a second, 2.5 min left"
    assert said[-1] == "training: 500 of 500, loss 0.002, 2.0 a second, 0.0 min left"


def test_a_terminal_shows_count_note_and_lines() -> None:
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", SHOWN], stderr=theirs, env={**os.environ, "COLUMNS": "120", "TERM": "xterm"}
    )
    assert done.wait() == 0
    os.close(theirs)
    text = os.read(ours, 1 << 16).decode()
    os.close(ours)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    for wanted in ("training", "100/200", "loss 100", "reading", "3/3", "a [finding]"):
        assert wanted in plain
