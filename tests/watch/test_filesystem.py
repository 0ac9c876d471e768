"""What the file system of a state directory can't report."""

import subprocess
from pathlib import Path

import pytest

from sidecar.watch.filesystem import FileSystem, file_system_of

MOUNTINFO = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:27 / /srv rw - nfs4 server:/export rw
31 30 0:28 / /srv/my\\040state rw - fuse.sshfs host: rw
32 22 0:29 / /var/lib rw - overlay overlay rw
33 32 8:1 / /var/lib/state rw master:2 - xfs /dev/sda1 rw
34 22 0:30 / /srv2 rw - btrfs /dev/sdb rw
nonsense
"""


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    (tmp_path / "mountinfo").write_text(MOUNTINFO)
    return tmp_path / "mountinfo"


@pytest.mark.parametrize(
    ("directory", "kind", "blind"),
    [
        ("/home/user/.openclaw", "ext4", ""),
        ("/srv/state", "nfs4", "another machine"),
        ("/srv/my state/agents", "fuse.sshfs", "behind the mount"),
        ("/var/lib/other", "overlay", "in a layer itself"),
        ("/var/lib/state/agents", "xfs", ""),
        ("/srv2/state", "btrfs", ""),
    ],
)
def test_the_nearest_mount_counts_and_says_what_it_cannot_report(
    mounts: Path, directory: str, kind: str, blind: str
) -> None:
    found = file_system_of(Path(directory), mounts)
    assert found.kind == kind
    assert blind in found.blind
    assert bool(found.blind) == bool(blind)
    assert found.layered == (kind == "overlay")


def test_where_nothing_can_be_told_nothing_is_claimed(tmp_path: Path) -> None:
    assert file_system_of(tmp_path, tmp_path / "none") == FileSystem()
    assert FileSystem().blind == ""


def test_a_real_file_system_has_a_name(tmp_path: Path) -> None:
    assert file_system_of(tmp_path).kind


def test_a_real_overlay_is_told(tmp_path: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (tmp_path / name).mkdir()
    code = (
        f"mount -t overlay overlay -o lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
        f" {tmp_path}/merged && exec grep ' {tmp_path}/merged ' /proc/self/mountinfo"
    )
    done = subprocess.run(("unshare", "-m", "sh", "-c", code), capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no overlay can be mounted here: {done.stderr.strip()[:200]}")
    (tmp_path / "mountinfo").write_text(MOUNTINFO + done.stdout)
    found = file_system_of(tmp_path / "merged" / "agents", tmp_path / "mountinfo")
    assert found == FileSystem("overlay", str(tmp_path / "merged"))
    assert found.layered
