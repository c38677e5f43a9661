"""A decoder that dies, hangs or takes too much fails its one frame, and the next one is decoded."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from lepton_monai.dicom import decoding, scan
from lepton_monai.dicom.decoding import decode
from lepton_monai.dicom.header import PixelLayout
from tests.phantoms import tiny_ct

JPEG_LS, HTJ2K = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.201"
ROWS = np.arange(48 * 40, dtype=np.uint16).reshape(48, 40)

pytestmark = pytest.mark.skipif(not decoding.HAS_CHILD, reason="only Linux decodes in a child")


@pytest.fixture
def layout(tmp_path: Path) -> PixelLayout:
    tiny_ct(tmp_path / "ct")
    (series,) = scan([tmp_path / "ct"]).series
    found = series.headers[0].layout
    return replace(found, rows=48, columns=40, signed=False, transfer_syntax_uid=JPEG_LS)


def _stream() -> bytes:
    return bytes(imagecodecs.jpegls_encode(ROWS))


def _child_pid() -> int:
    assert decoding._shared.child is not None
    return decoding._shared.child._process.pid


def test_a_frame_that_kills_its_decoder_is_refused_and_the_next_decoded(layout: PixelLayout) -> None:
    """Found among 100,000 mutated files: OpenJPH, in imagecodecs 2026.3.6, dies of it."""
    fatal = (Path(__file__).parent / "htj2k_that_kills.j2c").read_bytes()
    small = replace(layout, rows=6, columns=7, transfer_syntax_uid=HTJ2K)
    _, problem = decode(fatal, small)
    assert problem is not None
    assert problem[0] == "undecodable_pixel_data"
    matrix, problem = decode(_stream(), layout)
    assert problem is None
    np.testing.assert_array_equal(matrix, ROWS)


@pytest.mark.parametrize(
    ("ended_by", "word"),
    [
        (signal.SIGSEGV, "died of it (signal 11)"),
        (signal.SIGPROF, "took more than 10 s"),
        (signal.SIGKILL, "9"),
    ],
)
def test_what_ended_the_child_is_said(layout: PixelLayout, ended_by: int, word: str) -> None:
    decode(_stream(), layout)
    os.kill(_child_pid(), ended_by)
    _, problem = decode(_stream(), layout)
    assert problem is not None
    assert word in problem[1]
    matrix, problem = decode(_stream(), layout)
    assert problem is None
    np.testing.assert_array_equal(matrix, ROWS)


def test_the_child_stays_and_a_matrix_is_the_callers_own(layout: PixelLayout) -> None:
    first, _ = decode(_stream(), layout)
    child = _child_pid()
    other = bytes(imagecodecs.jpegls_encode(ROWS[::-1].copy()))
    into = np.zeros_like(ROWS)
    second, _ = decode(other, layout, into)
    assert np.shares_memory(second, into)
    np.testing.assert_array_equal(first, ROWS)
    np.testing.assert_array_equal(second, ROWS[::-1])
    assert _child_pid() == child


def test_a_frame_beyond_the_memory_at_first(layout: PixelLayout) -> None:
    large = np.arange(1200 * 1100, dtype=np.uint32).reshape(1200, 1100).astype(np.uint16)
    asked = replace(layout, rows=1200, columns=1100)
    matrix, problem = decode(bytes(imagecodecs.jpegls_encode(large)), asked)
    assert problem is None
    np.testing.assert_array_equal(matrix, large)


def test_threads_and_forks_do_not_take_each_others_frames(layout: PixelLayout) -> None:
    streams = [bytes(imagecodecs.jpegls_encode(ROWS + number)) for number in range(8)]
    wrong: list[int] = []

    def work(number: int) -> None:
        for _ in range(10):
            matrix, _ = decode(streams[number], layout)
            if not np.array_equal(matrix, ROWS + number):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    forked = os.fork()
    if forked == 0:
        matrix, _ = decode(streams[0], layout)
        os._exit(0 if np.array_equal(matrix, ROWS) else 1)
    matrix, _ = decode(streams[1], layout)
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 0
    np.testing.assert_array_equal(matrix, ROWS + 1)
    assert wrong == []


def test_the_child_ends_with_its_parent() -> None:
    program = (
        "import imagecodecs, numpy as np\n"
        "from lepton_monai.dicom import decoding\n"
        "from lepton_monai.dicom.header import PixelLayout\n"
        "layout = PixelLayout('1.2.840.10008.1.2.4.80', 8, 8, 1, 'MONOCHROME2', 16, 16, 15, False, 1)\n"
        "decoding.decode(bytes(imagecodecs.jpegls_encode(np.zeros((8, 8), np.uint16))), layout)\n"
        "print(decoding._shared.child._process.pid, flush=True)\n"
        "import os; os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    pid = int(done.stdout)
    for _ in range(100):
        if not Path(f"/proc/{pid}/stat").exists() or _state(pid) == "Z":
            return
        threading.Event().wait(0.05)
    pytest.fail("the child lives on")


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "Z"


def test_an_interrupted_frame_is_not_the_answer_to_the_next(layout: PixelLayout) -> None:
    rows = np.random.default_rng(1).integers(0, 1 << 16, (1024, 1024), np.uint16)
    slow = bytes(imagecodecs.jpeg2k_encode(rows, codecformat="j2k", reversible=True))
    asked = replace(layout, rows=1024, columns=1024, transfer_syntax_uid="1.2.840.10008.1.2.4.90")
    decode(_stream(), layout)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        with pytest.raises(KeyboardInterrupt):
            decode(slow, asked)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    matrix, problem = decode(_stream(), layout)
    assert problem is None
    np.testing.assert_array_equal(matrix, ROWS)


_DECODES = """
import imagecodecs, numpy as np, os, resource, sys, threading, time
from lepton_monai.dicom import decoding
from lepton_monai.dicom.header import PixelLayout
def frame(side):
    rows = np.arange(side * side, dtype=np.uint32).reshape(side, side).astype(np.uint16)
    layout = PixelLayout("1.2.840.10008.1.2.4.80", side, side, 1, "MONOCHROME2", 16, 16, 15, False, 1)
    return rows, bytes(imagecodecs.jpegls_encode(rows)), layout
def is_right(side):
    rows, stream, layout = frame(side)
    matrix, problem = decoding.decode(stream, layout)
    return problem is None and np.array_equal(matrix, rows)
"""


@pytest.mark.parametrize(
    "where",
    [
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 36, 1 << 36))",
        "sys.executable = ''",
        "sys.executable = '/bin/true'",
        "sys.executable = '/nowhere/python'",
    ],
)
def test_frames_are_decoded_wherever_python_runs(where: str) -> None:
    """Under a limit of the cluster's; and where no child can be started, in this process."""
    program = f"{_DECODES}{where}\nbefore = len(os.listdir('/proc/self/fd'))\n"
    program += "assert all(is_right(8) for _ in range(5))\n"
    # The child's two pipes, and its memory twice.
    program += "assert len(os.listdir('/proc/self/fd')) <= before + 4"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_fork_while_a_thread_decodes_does_not_wait_for_it() -> None:
    program = _DECODES + (
        "rows, stream, layout = frame(2048)\n"
        "decoding.decode(stream, layout)\n"
        "threading.Thread(target=lambda: [decoding.decode(stream, layout) for _ in range(20)]).start()\n"
        "time.sleep(0.05)\n"
        "forked = os.fork()\n"
        "if not forked: os._exit(0 if is_right(8) else 1)\n"
        "sys.exit(os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
