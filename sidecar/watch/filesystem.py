"""What the file system of a state directory can't report (proc(5), mountinfo)."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")

_UNSEEN: Final = (
    "changes that are made {} come without any event: they are seen when a gateway asks, or within a minute"
)
_REMOTE: Final = _UNSEEN.format("on another machine")
_BEHIND: Final = _UNSEEN.format("behind the mount")
_LAYERED: Final = (
    "changes that are made in a layer itself, from outside the container, come without any event; keep the state"
    " directory on a volume"
)
_BLIND: Final = {
    **dict.fromkeys(("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "gfs2", "ocfs2", "lustre"), _REMOTE),
    **dict.fromkeys(("fuse", "fuseblk", "9p", "virtiofs", "vboxsf", "drvfs"), _BEHIND),
    **dict.fromkeys(("overlay", "aufs"), _LAYERED),
}
_DEVICE: Final = re.compile(r"\d{1,9}:\d{1,9}", re.ASCII)
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class FileSystem:
    """Where a directory lies.

    Attributes:
        kind: The file system's type; empty when it can't be told.
        mount: Where it is mounted.
        device: Its device as /proc/locks writes it; stat(2) may tell another one (btrfs, overlayfs).
    """

    kind: str = ""
    mount: str = ""
    device: str = field(default="", compare=False)

    @property
    def blind(self) -> str:
        """What it can't report; empty when nothing is known to be missing."""
        return _BLIND.get(self.kind) or _BLIND.get(self.kind.partition(".")[0], "")

    @property
    def layered(self) -> bool:
        """It is a container's own, where nothing but the container writes as a rule."""
        return _BLIND.get(self.kind) is _LAYERED


def file_system_of(directory: Path, mounts: Path = MOUNTS) -> FileSystem:
    """The file system with a directory on it: of the mounts above it the nearest one, and of several there the last."""
    try:
        text = mounts.read_text(encoding="utf-8", errors="surrogateescape")
        path = directory.resolve()
    except (OSError, RuntimeError):
        return FileSystem()
    found = FileSystem()
    # In names only blanks, tabs, newlines and backslashes are escaped: whoever may mount chooses the others.
    for line in text.split("\n"):
        head, _, tail = line.partition(" - ")
        fields, types = head.split(" "), tail.split(" ")
        if len(fields) < 5 or not types[0] or not _DEVICE.fullmatch(fields[2]):  # noqa: PLR2004 - the mount point is the fifth
            continue
        mount = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), fields[4])
        if path.is_relative_to(mount) and len(mount) >= len(found.mount):
            major, _, minor = fields[2].partition(":")
            found = FileSystem(types[0], mount, f"{int(major):02x}:{int(minor):02x}")
    return found
