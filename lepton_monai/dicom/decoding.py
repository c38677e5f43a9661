"""Compressed frames, decoded in a process of its own: a damaged stream may kill the decoder, never us.

The decoders are C libraries, and fuzzing finds crashes in them now and then. So a frame is sent to a child
that stays warm between frames, under limits of memory and CPU time; if it dies, its frame is refused and
the next one gets a new child. The pixels come back through memory that both share. Only RLE, a few lines of
bounded copies, is decoded here; and everything where there is no such memory, which only Linux has.
"""

import json
import mmap
import os
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton_monai.dicom.codecs import DECODERS, NOTHING, Problem
from lepton_monai.dicom.header import PixelLayout
from lepton_monai.dicom.tags import RLE

LONGEST_S = 10.0
"""Of CPU, for one frame; most take milliseconds."""

MORE_MEMORY = 256 << 20
"""What a decoder may take besides three times the frame that the header declares."""

HAS_CHILD = sys.platform == "linux"

_AT_FIRST = 1 << 20
"""Bytes of the shared memory: a frame of 512 x 512 needs half; it grows."""


def decode(
    frame: bytes, layout: PixelLayout, into: NDArray[Any] | None = None
) -> tuple[NDArray[Any], Problem]:
    """Decode one frame.

    Parameters
    ----------
    frame
        The compressed stream.
    layout
        Of the pixels, with the transfer syntax: a key of `DECODERS`.
    into
        Where the values may go without a detour, if they have its shape and size.

    Returns
    -------
    matrix, problem
        ``(rows, columns)``, in colour ``(rows, columns, samples)``; code and message of a finding where it
        can't be decoded.
    """
    if not HAS_CHILD or layout.transfer_syntax_uid == RLE:
        return _decoded(frame, layout)
    with _shared.lock:
        if _shared.child is None:
            _shared.child = _Child()
        try:
            return _shared.child.decode(frame, layout, into)
        except (OSError, EOFError):
            message = f"The pixel data can't be decoded: {_shared.child.end()}."
            _shared.child = None
            return NOTHING, ("undecodable_pixel_data", message)


def _decoded(frame: bytes, layout: PixelLayout) -> tuple[NDArray[Any], Problem]:
    try:
        return DECODERS[layout.transfer_syntax_uid](frame, layout)
    except Exception as error:  # noqa: BLE001 - the border: a decoder may raise anything
        message = f"The pixel data can't be decoded ({type(error).__name__})."
        return NOTHING, ("undecodable_pixel_data", message)


def serve(memory: int) -> None:
    """Decode what comes on stdin until it is closed: the child's whole life.

    Parameters
    ----------
    memory
        Descriptor of the shared memory.
    """
    import resource  # absent on Windows, which has no child

    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # the parent may finish a step first
        signal.signal(one, signal.SIG_IGN)
    with open("/proc/self/statm", encoding="ascii") as told:  # noqa: PTH123 - no path object for one line
        at_first = int(told.read().split()[0]) * mmap.PAGESIZE
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    shared = mmap.mmap(memory, _AT_FIRST)
    while head := source.readline():
        asked = json.loads(head)
        frame = source.read(asked.pop("length"))
        layout = PixelLayout(**asked)
        declared = layout.rows * layout.columns * layout.samples_per_pixel * layout.bits_allocated // 8
        most = at_first + MORE_MEMORY + 3 * declared
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        signal.setitimer(signal.ITIMER_PROF, LONGEST_S)  # whose signal ends the process
        matrix, problem = _decoded(frame, layout)
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        if matrix.nbytes > len(shared):
            os.ftruncate(memory, matrix.nbytes)
            shared = mmap.mmap(memory, matrix.nbytes)
        np.frombuffer(shared, matrix.dtype, matrix.size).reshape(matrix.shape)[...] = matrix
        told_back = {"kind": matrix.dtype.str, "shape": matrix.shape, "problem": problem}
        sink.write(json.dumps(told_back).encode() + b"\n")
        sink.flush()


class _Child:
    """A process that decodes frame after frame."""

    def __init__(self) -> None:
        self._memory = os.memfd_create("frame")
        os.ftruncate(self._memory, _AT_FIRST)
        self._shared = mmap.mmap(self._memory, _AT_FIRST)
        start = f"from {__name__} import serve; serve({self._memory})"
        self._process = subprocess.Popen(  # noqa: S603 - our own program
            [sys.executable, "-c", f"import sys; sys.path[:] = {sys.path!r}; {start}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the decoders' own words
            pass_fds=[self._memory],
        )

    def decode(
        self, frame: bytes, layout: PixelLayout, into: NDArray[Any] | None
    ) -> tuple[NDArray[Any], Problem]:
        """Have one frame decoded.

        Raises
        ------
        OSError, EOFError
            The child has died.
        """
        sink, source = self._process.stdin, self._process.stdout
        if sink is None or source is None:
            raise EOFError
        sink.write(json.dumps({**vars(layout), "length": len(frame)}).encode() + b"\n" + frame)
        sink.flush()
        answer = source.readline()
        if not answer:
            raise EOFError
        told = json.loads(answer)
        problem = tuple(told["problem"]) if told["problem"] else None
        return self._taken(np.dtype(told["kind"]), tuple(told["shape"]), into), problem

    def _taken(
        self, kind: np.dtype[Any], shape: tuple[int, ...], into: NDArray[Any] | None
    ) -> NDArray[Any]:
        """Copy a matrix out of the shared memory, which the next frame will take."""
        size = int(np.prod(shape))
        if size * kind.itemsize > len(self._shared):
            self._shared = mmap.mmap(self._memory, size * kind.itemsize)
        matrix = np.frombuffer(self._shared, kind, size).reshape(shape)
        if into is None or into.shape != shape or into.itemsize != kind.itemsize:
            return matrix.copy()
        into[...] = matrix.view(into.dtype)
        return into.view(kind)

    def end(self) -> str:
        """Let it go, and say what it died of."""
        self.forget()
        self._process.kill()  # nothing where it is dead already
        number = -self._process.wait()
        if number == signal.SIGPROF:
            return f"it took more than {LONGEST_S:.0f} s"
        return f"the decoder died of it{f' (signal {number})' if number > 0 else ''}"

    def forget(self) -> None:
        """Close our ends: the child ends when every end is closed."""
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        os.close(self._memory)


class _Shared:
    """The child of this process, for one thread at a time."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.child: _Child | None = None

    def leave(self) -> None:
        """Have none, after a fork: the parent goes on with its own."""
        if self.child is not None:
            self.child.forget()
        self.lock, self.child = Lock(), None


_shared = _Shared()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.leave)
