"""fanotify(7) through ctypes: which process touched a file. There is no maintained Python binding.

Only what is needed: directories are marked, and of each event on a file in them come the process and the name. A group
of this kind gives the process id of others only with CAP_SYS_ADMIN in the initial user namespace, and 0 without it.
"""

import ctypes
import errno
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntFlag
from pathlib import Path
from typing import Final

from sidecar.core.errors import SidecarError

NO_PIDFD: Final = -1
"""Instead of a pidfd: the process is gone already, or the kernel gives none (before 5.15)."""

_CLOEXEC: Final = 0x1
_NONBLOCK: Final = 0x2
_REPORT_PIDFD: Final = 0x80
_REPORT_DFID_NAME: Final = 0x400 | 0x800
_MARK_ADD: Final = 0x1
_MARK_ONLYDIR: Final = 0x8
_EVENT_ON_CHILD: Final = 0x0800_0000
_AT_FDCWD: Final = -100

_INFO_DFID_NAME: Final = 2
_INFO_DFID: Final = 3
_INFO_PIDFD: Final = 4
_METADATA: Final = struct.Struct("=IBBHQii")
_METADATA_VERSION: Final = 3
_INFO: Final = struct.Struct("=BBH")
_FSID: Final = struct.Struct("=II")
_HALF: Final = 0xFFFF_FFFF
_HANDLE: Final = struct.Struct("=Ii")
_MAX_HANDLE_BYTES: Final = 128
_BUFFER_BYTES: Final = 1 << 18


class Mask(IntFlag):
    """What happened (linux/fanotify.h)."""

    MODIFY = 0x2
    ATTRIB = 0x4
    CLOSE_WRITE = 0x8
    MOVED_FROM = 0x40
    MOVED_TO = 0x80
    CREATE = 0x100
    DELETE = 0x200
    OVERFLOW = 0x4000


WATCHED: Final = Mask(0x3CE)
"""All of them but the overflow, which comes unasked."""


class FanotifyError(SidecarError, OSError):
    """The kernel gives no such evidence here; ``errno`` says why."""


@dataclass(frozen=True, slots=True)
class Handle:
    """A directory as the kernel names it: the same for as long as the directory lives, whatever it is called.

    Attributes:
        fsid: The first half of the file system's id: some C libraries tell no more. Handles are its own: the roots of
            all ext4 have the same.
        kind: The file system's type of handle.
        data: Opaque.
    """

    fsid: int
    kind: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Raw:
    """One event as it was read. Several of one process on one file may have been joined by the kernel.

    Attributes:
        mask: What happened.
        pid: Who did it, in our pid namespace; 0 when the kernel does not tell.
        pidfd: An open descriptor of the process, which the receiver closes; `NO_PIDFD` when there is none.
        directory: Where; None of an overflow.
        name: The name in that directory.
    """

    mask: Mask
    pid: int
    pidfd: int
    directory: Handle | None
    name: bytes


class _FileHandle(ctypes.Structure):
    _fields_ = (
        ("handle_bytes", ctypes.c_uint),
        ("handle_type", ctypes.c_int),
        ("f_handle", ctypes.c_ubyte * _MAX_HANDLE_BYTES),
    )


class Fanotify:
    """One notification group."""

    def __init__(self) -> None:
        """Open it, with pidfds where the kernel has them.

        Raises:
            FanotifyError: The kernel is too old, or this process may not.
        """
        self._libc = ctypes.CDLL(None, use_errno=True)
        try:
            self._libc.fanotify_mark.argtypes = [
                ctypes.c_int,
                ctypes.c_uint,
                ctypes.c_uint64,
                ctypes.c_int,
                ctypes.c_char_p,
            ]
            self._fd = self._open()
        except AttributeError as error:
            raise FanotifyError(errno.ENOSYS, "the C library has no fanotify") from error

    def _open(self) -> int:
        flags = _CLOEXEC | _NONBLOCK | _REPORT_DFID_NAME
        fd = int(self._libc.fanotify_init(flags | _REPORT_PIDFD, os.O_RDONLY | os.O_CLOEXEC))
        if fd < 0 and ctypes.get_errno() == errno.EINVAL:
            fd = int(self._libc.fanotify_init(flags, os.O_RDONLY | os.O_CLOEXEC))
        if fd < 0:
            raise self._error("fanotify_init")
        return fd

    def fileno(self) -> int:
        """The descriptor, for a selector."""
        return self._fd

    def close(self) -> None:
        """Let go of the group and its marks."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def mark(self, directory: Path) -> Handle:
        """Have events of the files in a directory reported from now on. Twice does no harm.

        Returns:
            The directory as the events will name it.

        Raises:
            FanotifyError: It can't be marked, or its file system has no handles.
        """
        name = os.fsencode(directory)
        handle = self._handle(name)
        mask = WATCHED | _EVENT_ON_CHILD
        if self._libc.fanotify_mark(self._fd, _MARK_ADD | _MARK_ONLYDIR, mask, _AT_FDCWD, name):
            raise self._error(f"fanotify_mark {directory}")
        return handle

    def read(self) -> Iterator[Raw]:
        """Every event until the queue is empty. The receiver closes the pidfds, and takes all that is yielded."""
        while True:
            try:
                buffer = os.read(self._fd, _BUFFER_BYTES)
            except BlockingIOError:
                return
            yield from _events(buffer)

    def _handle(self, name: bytes) -> Handle:
        found = _FileHandle(handle_bytes=_MAX_HANDLE_BYTES)
        mount = ctypes.c_int()
        if self._libc.name_to_handle_at(_AT_FDCWD, name, ctypes.byref(found), ctypes.byref(mount), 0):
            raise self._error(f"name_to_handle_at {os.fsdecode(name)}")
        try:
            fsid = os.statvfs(name).f_fsid
        except OSError as error:
            raise FanotifyError(error.errno, f"statvfs {os.fsdecode(name)}: {error.strerror}") from error
        return Handle(fsid & _HALF, found.handle_type, bytes(found.f_handle[: found.handle_bytes]))

    def _error(self, what: str) -> FanotifyError:
        number = ctypes.get_errno()
        return FanotifyError(number, f"{what}: {os.strerror(number)}")


def _events(buffer: bytes) -> Iterator[Raw]:
    start = 0
    while start + _METADATA.size <= len(buffer):
        length, version, _, header, mask, _, pid = _METADATA.unpack_from(buffer, start)
        if version != _METADATA_VERSION or length < _METADATA.size:
            raise FanotifyError(errno.EPROTO, f"the kernel speaks version {version} of fanotify")
        pidfd, directory, name = NO_PIDFD, None, b""
        at = start + header
        while at + _INFO.size <= start + length:
            kind, _, size = _INFO.unpack_from(buffer, at)
            body = buffer[at + _INFO.size : at + size]
            if kind in {_INFO_DFID_NAME, _INFO_DFID}:
                directory, name = _place(body)
            elif kind == _INFO_PIDFD:
                pidfd = max(NO_PIDFD, *struct.unpack_from("=i", body))
            at += max(size, _INFO.size)
        yield Raw(Mask(mask & (WATCHED | Mask.OVERFLOW)), pid, pidfd, directory, name)
        start += length


def _place(body: bytes) -> tuple[Handle, bytes]:
    """The directory's handle and the name behind it, from an info record without its header."""
    fsid, _ = _FSID.unpack_from(body)
    size, kind = _HANDLE.unpack_from(body, _FSID.size)
    begin = _FSID.size + _HANDLE.size
    return Handle(fsid, kind, body[begin : begin + size]), body[begin + size :].split(b"\0", 1)[0]
