"""Compressed frames, decoded in a process of its own: a damaged stream may kill the decoder, never us.

The decoders are C libraries, and fuzzing finds crashes in them now and then. So a frame is sent to a child
that stays warm between frames, under limits of memory and CPU time; if it dies, its frame is refused and
the next one gets a new child. The pixels come back through memory that both share. Only RLE, a few lines of
bounded copies, is decoded here; and everything where there is no such memory, which only Linux has, or
where no child can be started, as in a Python that another program holds.
"""

import json
import mmap
import os
import signal
import subprocess
import sys
from contextlib import suppress
from threading import Lock
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from lepton_monai.dicom.codecs import DECODERS, NOTHING, Problem
from lepton_monai.dicom.header import PixelLayout
from lepton_monai.dicom.tags import RLE

LONGEST_S, FOR_PIXELS = 10.0, 1 << 24
"""Of CPU, for one frame of at most so many pixels, and more for a larger one; most take milliseconds."""

MORE_MEMORY, TIMES_DECLARED = 256 << 20, 10
"""What a decoder may take: OpenJPEG holds 4 bytes for each sample of one, twice over."""

HAS_CHILD = sys.platform == "linux"

_GREETING = b"ready\n"

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
        child = _shared.started()
        if child is None:
            return _decoded(frame, layout)
        try:
            return child.decode(frame, layout, into)
        except (OSError, EOFError):
            _shared.child = None
            message = f"The pixel data can't be decoded: {child.end()}."
            return NOTHING, ("undecodable_pixel_data", message)
        except BaseException:  # interrupted: its answer would be taken for that to the next frame
            _shared.child = None
            child.end()
            raise


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

    with open("/proc/self/statm", encoding="ascii") as told:  # noqa: PTH123 - no path object for one line
        at_first = int(told.read().split()[0]) * mmap.PAGESIZE
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    shared = mmap.mmap(memory, _AT_FIRST)
    _, hardest = resource.getrlimit(resource.RLIMIT_AS)  # as a cluster may have set it
    sink.write(_GREETING)
    sink.flush()
    while head := source.readline():
        asked = json.loads(head)
        frame = source.read(asked.pop("length"))
        layout = PixelLayout(**asked)
        pixels = layout.rows * layout.columns * layout.samples_per_pixel
        declared = pixels * layout.bits_allocated // 8
        most = at_first + len(shared) + len(frame) + MORE_MEMORY + TIMES_DECLARED * declared
        most = most if hardest == resource.RLIM_INFINITY else min(most, hardest)
        resource.setrlimit(resource.RLIMIT_AS, (most, hardest))
        # Its signal ends the process.
        signal.setitimer(signal.ITIMER_PROF, LONGEST_S * max(1.0, pixels / FOR_PIXELS))
        matrix, problem = _decoded(frame, layout)
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        if matrix.nbytes > len(shared):
            os.ftruncate(memory, matrix.nbytes)
            shared = mmap.mmap(memory, matrix.nbytes)
        np.frombuffer(shared, matrix.dtype, matrix.size).reshape(matrix.shape)[...] = matrix
        told_back = {"kind": matrix.dtype.str, "shape": matrix.shape, "problem": problem}
        del matrix
        sink.write(json.dumps(told_back).encode() + b"\n")
        sink.flush()


_PROGRAM = """
import signal, sys
for one in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # the parent may finish a step first
    signal.signal(one, signal.SIG_IGN)
sys.path[:] = {path!r}
from {name} import serve
serve({memory})
"""


class _Child:
    """A process that decodes frame after frame.

    Raises
    ------
    OSError, EOFError
        It can't be started.
    """

    def __init__(self) -> None:
        self._memory = os.memfd_create("frame")
        os.ftruncate(self._memory, _AT_FIRST)
        self._shared = mmap.mmap(self._memory, _AT_FIRST)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _PROGRAM.format(path=sys.path, name=__name__, memory=self._memory)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # the decoders' own words
                pass_fds=[self._memory],
                bufsize=0,  # a buffer has a lock, which a fork may find taken for ever
                process_group=0,  # the terminal's signals are for its parent
            )
        except OSError:
            os.close(self._memory)
            raise
        if self._answer() != _GREETING:
            self.end()
            raise EOFError

    def decode(
        self, frame: bytes, layout: PixelLayout, into: NDArray[Any] | None
    ) -> tuple[NDArray[Any], Problem]:
        """Have one frame decoded.

        Raises
        ------
        OSError, EOFError
            The child has died.
        """
        asked = json.dumps({**vars(layout), "length": len(frame)}).encode() + b"\n"
        waiting = memoryview(asked + frame)
        while waiting:
            waiting = waiting[os.write(_descriptor(self._process.stdin), waiting) :]
        told = json.loads(self._answer())
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

    def _answer(self) -> bytes:
        """Return one line; nothing follows it before the next frame is sent."""
        answer = b""
        while not answer.endswith(b"\n"):
            part = os.read(_descriptor(self._process.stdout), 4096)
            if not part:
                raise EOFError
            answer += part
        return answer

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


def _descriptor(stream: IO[bytes] | None) -> int:
    if stream is None:
        raise EOFError
    return stream.fileno()


class _Shared:
    """The child of this process, for one thread at a time."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.child: _Child | None = None
        self._is_impossible = False

    def started(self) -> _Child | None:
        """Return the child, a new one where there is none; None: none can be started here."""
        if self.child is None and not self._is_impossible:
            try:
                self.child = _Child()
            except (OSError, EOFError):
                self._is_impossible = True
        return self.child

    def leave(self) -> None:
        """Have none, after a fork: the parent goes on with its own."""
        if self.child is not None:
            self.child.forget()
        self.lock, self.child = Lock(), None


_shared = _Shared()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_shared.leave)
