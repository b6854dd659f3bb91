"""How much memory there is: limits of control groups and of the process, read from trees of files that are made up."""

import mmap
import resource
from pathlib import Path

import pytest

from source_extraction.errors import InputError
from source_extraction.readers import memory
from source_extraction.readers.disk_room import RoomOnDisk
from tests.hostile import in_child

GB = 10**9
Tree = dict[str, str]


def group(folder: str, limit: int | str, used: int = 0, cached: int = 0) -> Tree:
    """A group of version 2."""
    return {
        f"{folder}/memory.max": f"{limit}\n",
        f"{folder}/memory.current": f"{used}\n",
        f"{folder}/memory.stat": f"anon {used - cached}\ninactive_file {cached}\n",
    }


def group_1(folder: str, limit: int, used: int = 0, cached: int = 0) -> Tree:
    """A group of version 1, where 2^63 less a page is no limit."""
    return {
        f"memory/{folder}/memory.limit_in_bytes": f"{limit}\n",
        f"memory/{folder}/memory.usage_in_bytes": f"{used}\n",
        f"memory/{folder}/memory.stat": f"cache {cached}\ninactive_file 7\ntotal_inactive_file {cached}\n",
    }


NO_LIMIT_1 = 2**63 - 4096
SLURM = "system.slice/slurmstepd.scope/job_1"
# name: (/proc/self/cgroup, the tree, what is left)
TREES: dict[str, tuple[str, Tree, int]] = {
    "own group": ("0::/job\n", group("job", GB, 10**8), GB - 10**8),
    "parent of Slurm": (
        f"0::/{SLURM}/step_0/user/task_0\n",
        group(SLURM, GB, 10**8)
        | group(f"{SLURM}/step_0", "max", 1)
        | group(f"{SLURM}/step_0/user", "max", 1)
        | group(f"{SLURM}/step_0/user/task_0", "max", 1),
        GB - 10**8,
    ),
    "the least of several": (
        "0::/a/b\n", group("a/b", 3 * GB) | group("a", 2 * GB, GB) | group("", 10 * GB), GB,
    ),
    "container that is its own root": ("0::/\n", group("", GB, 5), GB - 5),
    "group outside of what a container sees": ("0::/../../x\n", group("", GB), GB),
    "cached files can be dropped": ("0::/job\n", group("job", GB, 9 * 10**8, 8 * 10**8), 9 * 10**8),
    "version 1": ("4:memory:/slurm/job_1\n0::/\n", group_1("slurm/job_1", GB), GB),
    "version 1, used": ("4:memory:/job\n", group_1("job", GB, 5 * 10**8, 10**8), 6 * 10**8),
    "version 1, parent": (
        "11:cpu,cpuacct:/x\n4:memory:/slurm/job_1/step_0\n",
        group_1("slurm/job_1/step_0", NO_LIMIT_1, 1) | group_1("slurm/job_1", GB) | group_1("slurm", NO_LIMIT_1), GB,
    ),
    "version 1, Docker": ("4:memory:/docker/0123\n", group_1("", GB), GB),
    "version 1 with others": ("9:hugetlb,memory:/job\n", group_1("job", GB), GB),
    "both versions": ("4:memory:/job\n0::/job\n", group_1("job", 2 * GB) | group("job", GB), GB),
    "no limit": ("0::/job\n", group("job", "max"), memory.UNLIMITED),
    "no files": ("0::/job\n", {}, memory.UNLIMITED),
    "colons in a name": ("0::/a:b\n", group("a:b", GB), GB),
    "nonsense": ("x\n\n::\n", group("", GB), GB),
    "no memory.current": ("0::/\n", {"memory.max": f"{GB}"}, GB),
}  # fmt: skip


@pytest.mark.parametrize("case", TREES)
def test_control_groups(tmp_path: Path, case: str) -> None:
    own, tree, left = TREES[case]
    (tmp_path / "cgroup").write_text(own)
    for name, text in tree.items():
        path = tmp_path / "all" / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert memory.of_the_control_groups(tmp_path / "cgroup", tmp_path / "all") == left


def test_system_without_control_groups(tmp_path: Path) -> None:
    assert memory.of_the_control_groups(tmp_path / "none", tmp_path) == memory.UNLIMITED


@pytest.mark.parametrize("limit", [resource.RLIMIT_AS, resource.RLIMIT_DATA])
def test_limits_of_the_process(tmp_path: Path, limit: int) -> None:
    """What is in use is not available: less by as much as is allocated."""
    field = "VmSize" if limit == resource.RLIMIT_AS else "VmData"

    def check() -> int:
        used = memory._in_use(field)
        resource.setrlimit(limit, (used + 2**30, used + 2**30))
        before = memory.of_the_process()
        kept = mmap.mmap(-1, 2**28, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        after = memory.of_the_process()
        kept.close()
        print(before, after)
        return int(not (0.9 * 2**30 < before <= 2**30 and abs(before - after - 2**28) < 2**20))

    ending = in_child(check, tmp_path / "log", more=None)
    assert ending.code == 0, ending.said


def test_never_less_than_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "of_the_process", lambda: -5)
    assert memory.available_memory() == 0


def test_what_memory_does_not_hold_is_on_the_disk_or_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before anything is allocated."""
    monkeypatch.setattr(memory, "of_the_control_groups", lambda: GB)
    room = RoomOnDisk(tmp_path)
    room.require("image", "HDU 0", 50_000_000, 4)
    assert room.describe() == ""
    room.require("image", "HDU 0", 70_000_000, 4)
    assert "the image needs 1.1 GB of memory, and there are 1.0" in room.describe()
    with pytest.raises(
        InputError, match=r"claims 10{12} pixels, which need 16000\.0 GB of memory; there are 1\.0 GB, and"
    ):
        room.require("image", "HDU 0", 10**12, 4)
