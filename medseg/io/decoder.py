"""Decode the pixels of untrusted files in one long-lived child process.

Codecs are large pieces of C that read whatever a file says. They run in a process that has neither torch nor
results in it, with a memory limit and a time limit; when it dies, one file is refused and the next request
starts a fresh process. Replies are JSON and raw bytes over a pipe: nothing is unpickled.

    decode({"do": "itk", "image_io": "NrrdImageIO"}, files=[path], take=keep, most_bytes=claimed)
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import json
import logging
import math
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medseg.errors import InputError, ResourceError
from medseg.memory import available_bytes

__all__ = ["Decoder", "Part", "Take", "decode", "decode_parts", "refuse_oversize"]

logger = logging.getLogger(__name__)

Take = Callable[[dict[str, Any], NDArray[Any] | None], None]
"""Called once for each file, in order: the reply's fields and the decoded array, if there is one."""

TIMEOUT_S = 120.0  # for one file; the slowest real one seen, a 1 GB JPEG 2000 multi-frame, needs about 40 s
MEMORY_BYTES = 8 << 30  # address space of the child: codecs and ITK map about 2 GiB before the first pixel
MOST_BYTES = 16 << 30  # a 2048 x 2048 x 1024 CT in float32; more is a damaged or hostile header
# bytes of JSON in a reply: a DICOM header has about 2 kB, and 0.3 kB for each of at most 100 000 frames
MOST_REPLY = 64 << 20
PIPE_BYTES = 1 << 20  # what the system lets a pipe hold: the child works on while this process is busy
KINDS = frozenset("biuf")
CHILD = "medseg.io.child"


def refuse_oversize(claimed: int, name: str) -> None:
    """Raise InputError where a header claims more bytes than fit here, before anything is allocated."""
    most = min(MOST_BYTES, available_bytes())
    if claimed > most:
        raise InputError(
            f"{name}: its header claims {claimed / 2**30:.1f} GiB of voxels; at most {most / 2**30:.1f} GiB "
            "can be read here. Check the file, or use a machine with more memory"
        )


class _EndedError(Exception):
    """The child's end of the pipe is closed."""


class _TimeoutError(Exception):
    """The child did not answer in time."""


class Decoder:
    """One child process that decodes: started on first use, replaced after a death, shared by threads.

    `memory_bytes` of address space are for the child itself; each request adds four times what it claims.
    """

    def __init__(self, *, timeout_s: float = TIMEOUT_S, memory_bytes: int = MEMORY_BYTES) -> None:
        self.timeout_s = timeout_s
        self.memory_bytes = memory_bytes
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child that is running now."""
        return None if self._process is None else self._process.pid

    def ask(
        self, request: Mapping[str, Any], *, files: Sequence[Path], take: Take, most_bytes: int = 0
    ) -> None:
        """Send `request` for `files` and give each file's reply to `take`, in order.

        `most_bytes` is what a single reply may hold at most, from the headers. Raises InputError, naming the
        file, where the child refuses it, dies on it, needs too much memory or does not answer in time.
        """
        # not resolved: the name a file has here is the one to be opened
        paths = [os.path.abspath(path) for path in files]  # noqa: PTH100
        names = _names(files, request.get("frames"))
        memory = self.memory_bytes + 4 * most_bytes
        message = json.dumps({**request, "files": paths, "memory": memory}).encode()
        done = 0
        with self._lock:
            try:
                self._send(message)
                while (reply := self._receive(most_bytes)) is not None:
                    take(*reply)
                    done += 1
            except _RefusedError as refusal:
                raise InputError(f"{_name(names, done)}: {refusal}") from None
            except _EndedError:
                raise InputError(
                    f"{_name(names, done)}: {self._epitaph()}; it is damaged or hostile"
                ) from None
            except _TimeoutError:
                self._kill()
                raise InputError(
                    f"{_name(names, done)}: not decoded within {self.timeout_s:g} s; it is damaged or hostile"
                ) from None
            except BaseException:
                self._kill()  # the stream is in the middle of a reply: nobody could use it again
                raise

    def close(self) -> None:
        """End the child; the next request starts another."""
        with self._lock:
            self._kill()

    def interrupt(self) -> None:
        """End the child in the middle of its work: whoever asks it is told that it ended."""
        process = self._process
        if process is not None:
            process.kill()

    def _send(self, message: bytes) -> None:
        """Write one request; a child that died while idle is replaced without a word."""
        for attempt in range(2):
            if self._process is None or self._process.poll() is not None:
                self._start()
            try:
                self._write(struct.pack(">I", len(message)) + message)
            except BrokenPipeError:
                self._kill()
                if attempt:
                    raise _EndedError from None
            else:
                return

    def _start(self) -> None:
        self._kill()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the child
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        try:
            # -P: a numpy.py in the folder the user stands in must not be imported
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=environment,
                bufsize=0,
            )
        except OSError as problem:
            raise ResourceError(f"the decoder process cannot be started: {problem.strerror}") from problem
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)
        _widen(self._process.stdout)
        logger.debug("decoder started, process %d", self._process.pid)

    def _kill(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout, self._stderr):
            if stream is not None:
                stream.close()
        self._stderr = None

    def _epitaph(self) -> str:
        """How the child ended, in words; then clear it away."""
        assert self._process is not None
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            code = 0  # it closed its pipe and lives on: as good as dead
        self._kill()
        if code >= 0:
            return f"the decoder ended (exit code {code}) while reading it"
        return f"the decoder was ended by {signal.Signals(-code).name} while reading it"

    def _write(self, message: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        pipe = self._process.stdin.fileno()
        left = memoryview(message)
        deadline = time.monotonic() + self.timeout_s
        while left:
            _wait(pipe, select.POLLOUT, deadline)
            left = left[os.write(pipe, left) :]

    def _receive(self, most_bytes: int) -> tuple[dict[str, Any], NDArray[Any] | None] | None:
        """One reply; None after the last. Trusts neither the sizes nor the types the child names."""
        deadline = time.monotonic() + self.timeout_s
        length = struct.unpack(">I", self._read(4, deadline))[0]
        if length > MOST_REPLY:
            raise _RefusedError("the decoder's answer makes no sense")
        fields = json.loads(self._read(length, deadline))
        if "error" in fields:
            raise _RefusedError(str(fields["error"]))
        if fields.get("done"):
            return None
        if "dtype" not in fields:
            return fields, None
        dtype, shape = np.dtype(fields["dtype"]), tuple(int(n) for n in fields["shape"])
        if dtype.kind not in KINDS or min(shape) < 0 or math.prod(shape) * dtype.itemsize > most_bytes:
            self._kill()
            raise InputError(f"{fields.get('name', 'the file')}: holds more pixels than its header claims")
        array = np.empty(shape, dtype)
        if array.size:
            self._fill(array.reshape(-1).view(np.uint8).data, time.monotonic() + self.timeout_s)
        return fields, array

    def _read(self, count: int, deadline: float) -> bytearray:
        buffer = bytearray(count)
        self._fill(memoryview(buffer), deadline)
        return buffer

    def _fill(self, buffer: memoryview, deadline: float) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        while buffer:
            _wait(pipe, select.POLLIN, deadline)
            count = os.readv(pipe, [buffer])
            if count == 0:
                raise _EndedError
            buffer = buffer[count:]


class _RefusedError(Exception):
    """The child says what is wrong with the file."""


def _wait(pipe: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(pipe, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise _TimeoutError


def _widen(pipe: IO[bytes] | None) -> None:
    """Let a pipe hold more, where the system allows it: a matter of speed only."""
    assert pipe is not None
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def _names(files: Sequence[Path], frames: Sequence[Sequence[int] | None] | None) -> list[str]:
    """What each reply is about: a file, or one of the frames asked of it, numbered from 1."""
    return [
        path.name if frame is None else f"{path.name}, frame {frame + 1}"
        for path, asked in zip(files, frames or [None] * len(files), strict=True)
        for frame in ([None] if asked is None else asked)
    ]


def _name(names: Sequence[str], done: int) -> str:
    return names[min(done, len(names) - 1)] if names else "the decoder"


_decoder = Decoder()


def decode(request: Mapping[str, Any], *, files: Sequence[Path], take: Take, most_bytes: int = 0) -> None:
    """Ask this process's decoder; see `Decoder.ask`."""
    _decoder.ask(request, files=files, take=take, most_bytes=most_bytes)


class Part(NamedTuple):
    """One request of several that are answered at the same time: what to ask, of which files, for whom."""

    request: Mapping[str, Any]
    files: Sequence[Path]
    take: Take


def decode_parts(parts: Sequence[Part], *, most_bytes: int) -> None:
    """Ask for every part at once, each after the first in a child process of its own, ended afterwards.

    For codecs that keep one processor busy. `take` is called from several threads. Raises what the first part
    that fails raises.
    """
    helpers = [Decoder() for _ in parts[1:]]
    try:
        with ThreadPoolExecutor(max(1, len(helpers))) as pool:
            _ask_all(parts, helpers, pool, most_bytes)
    finally:
        for helper in helpers:
            helper.close()


def _ask_all(
    parts: Sequence[Part], helpers: Sequence[Decoder], pool: ThreadPoolExecutor, most_bytes: int
) -> None:
    waiting = [
        pool.submit(helper.ask, part.request, files=part.files, take=part.take, most_bytes=most_bytes)
        for helper, part in zip(helpers, parts[1:], strict=True)
    ]
    try:
        first = parts[0]  # asked from here, so that an interrupt by the user ends it
        decode(first.request, files=first.files, take=first.take, most_bytes=most_bytes)
        for future in waiting:
            future.result()
    finally:
        for helper in helpers:
            helper.interrupt()


def _close() -> None:
    """End the child of this process, if it has one."""
    _decoder.close()


def _forget() -> None:
    """After a fork the child belongs to the parent: two askers on one pipe would mix up their replies."""
    global _decoder  # noqa: PLW0603  # one decoder per process is the point
    _decoder = Decoder()


atexit.register(_close)
os.register_at_fork(after_in_child=_forget)
