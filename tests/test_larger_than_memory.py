"""An image that memory does not hold is worked on in files: the same products, nothing left, and little in memory."""

import mmap
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits

import source_extraction as se
from source_extraction.errors import InputError, OutputError
from source_extraction.faces.source_extractor import main
from source_extraction.readers import disk_room, memory
from source_extraction.readers.disk_room import RoomOnDisk
from tests.conftest import SCRIPT, TEST_DATA, run_tool, succeed
from tests.simulated_sky import simulate
from tests.test_nothing_lost import can_mount

CATALOG_AND_MAPS = "catalog.tsv,background.fits,background_rms.fits,segmentation_map.fits"
# Of several lanes and modules: all that has the size of the image.
PRODUCTS = (
    f"{CATALOG_AND_MAPS},catalog.fits,background_subtracted.fits,segmentation_map.tiff,image.tiff,seeds.tiff,"
    "bright_mask.fits"
)
MEGABYTE = 2**20


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of several tiles with pixels that are none, a mask and a noise map."""
    folder = tmp_path_factory.mktemp("images")
    pixels = simulate((1100, 1600), 2500, seed=24).pixels
    pixels[300:340, 200:260] = np.nan
    fits.writeto(folder / "sky.fits", pixels)
    whole = np.nan_to_num(pixels, nan=-32768).clip(-32768, 32767).astype(np.int16)
    header = fits.Header({"BLANK": -32768, "BSCALE": 0.5, "BZERO": 10.0})
    image = fits.PrimaryHDU(whole, header, do_not_scale_image_data=True)
    image.header.update(header)
    image.writeto(folder / "scaled.fits")
    tifffile.imwrite(folder / "sky.tiff", np.nan_to_num(pixels).clip(0, 65535).astype(np.uint16))
    mask = np.zeros(pixels.shape, np.uint8)
    mask[500:900, 700:760] = 4
    fits.writeto(folder / "mask.fits", mask)
    fits.writeto(folder / "noise.fits", np.full(pixels.shape, 9.0) + np.arange(1600) / 400)
    return folder


# name: image, options
RUNS: dict[str, tuple[str, tuple[str, ...]]] = {
    "FITS": ("sky.fits", ("--saturation", "3000")),
    "scaled FITS with BLANK": ("scaled.fits", ("--err_option", "array_rms")),
    "TIFF, two passes": ("sky.tiff", ("--background_passes", "2", "--missing", "0")),
    "mask and noise map": (
        "sky.fits",
        ("--mask_file", "mask.fits", "--mask_bits", "4", "--err_option", "file", "--error_file", "noise.fits"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_the_same_products(folder: Path, tmp_path: Path, name: str) -> None:
    """To the last byte, in memory and in files, whatever the number of processes."""
    image, given = RUNS[name]
    options = [folder / option if option.endswith(".fits") else option for option in given]
    run = (folder / image, *options, "--outputs", PRODUCTS)
    said = succeed(*run, "--threads", 2, folder=tmp_path / "memory")
    assert "Working arrays" not in said
    for processes in (1, 2, 3):
        files = tmp_path / str(processes)
        said = succeed(*run, "--threads", processes, "--memory", "1M", folder=files)
        assert "Working arrays: in files on the disk of" in said
        for product in PRODUCTS.split(","):
            assert (files / product).read_bytes() == (tmp_path / "memory" / product).read_bytes(), product


def test_python_has_the_same(folder: Path, tmp_path: Path) -> None:
    in_memory = se.extract(folder / "sky.fits", background_passes=2)
    in_files = se.extract(folder / "sky.fits", background_passes=2, memory="1M", scratch=tmp_path, threads=2)
    assert (in_files.segmentation == in_memory.segmentation).all()
    for name in in_memory.to_table().colnames:
        np.testing.assert_array_equal(in_files.to_table()[name], in_memory.to_table()[name])
    assert os.listdir(tmp_path) == []
    with pytest.raises(InputError, match="memory: 'much' is out of range; give a number of bytes, as 500M or 4G"):
        se.extract(folder / "sky.fits", memory="much")


SIZES = {"1": 1, "3K": 3 * 1024, "1500M": 1500 * 1024**2, "4G": 4 * 1024**3, "1.5g": 3 * 2**29, "2GB": 2**31}


@pytest.mark.parametrize("text", SIZES)
def test_sizes(text: str) -> None:
    from source_extraction.settings import OPTIONS

    assert OPTIONS["memory"].from_text(text) == OPTIONS["memory"].check(text) == SIZES[text]


@pytest.mark.parametrize("text", ["", "G", "4T", "-1G", "4 G G", "0", "nan"])
def test_what_is_no_size_is_refused(text: str, tmp_path: Path) -> None:
    run = run_tool(TEST_DATA / "sky.fits", f"--memory={text}", folder=tmp_path / "out")
    assert run.returncode == 2
    assert "give a number of bytes, as 500M or 4G (K, M and G are powers of 1024)" in run.stderr


def limited(folder: Path, out: Path, *more: object, size: int) -> subprocess.CompletedProcess:
    """A run whose files may have no more than so many bytes, which stops them where a full disk does."""
    command = [sys.executable, SCRIPT, folder / "sky.fits", "--output_dir", out, "--memory", "1M", *more]
    return subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )


def test_no_room_for_the_working_files(folder: Path, tmp_path: Path) -> None:
    """It is said when they are made, before anything is written to them, and nothing is left."""
    scratch, out = tmp_path / "scratch", tmp_path / "out"
    scratch.mkdir()
    run = limited(folder, out, "--scratch", scratch, size=MEGABYTE)
    what = "the working files cannot be written (File too large); choose another --scratch or make room"
    assert (run.returncode, run.stderr) == (1, f"error: {scratch}: {what}\n")
    run = limited(folder, out, size=MEGABYTE)
    what = "the products cannot be written (File too large); choose another --output_dir or make room"
    assert (run.returncode, run.stderr) == (1, f"error: {out}: {what}\n")
    run = run_tool(folder / "sky.fits", "--memory", "1M", "--scratch", tmp_path / "none", folder=out)
    what = "the working files cannot be written (No such file or directory)"
    assert (run.returncode, run.stderr.split(";")[0]) == (1, f"error: {tmp_path / 'none'}: {what}")
    assert sorted(os.listdir(tmp_path)) == ["scratch"]
    assert os.listdir(scratch) == []


# On a disk of so many megabytes: how a run ends, what is left on the disk, and what was said of it.
ON_A_DISK = """
import subprocess, sys
from pathlib import Path
size, script, folder, *arguments = sys.argv[1:]
disk = Path(folder) / "disk"
disk.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "none", disk], check=True)
where = ["--output_dir", f"{folder}/out", "--memory", "1M", "--scratch", str(disk)]
run = subprocess.run([sys.executable, script, *arguments, *where], capture_output=True, text=True)
print(run.returncode, list(disk.iterdir()))
print(*(line for line in run.stdout.splitlines() if line.startswith("Working arrays")), run.stderr.strip())
"""
ENDINGS = {
    5: (1, "0.0 GB of memory; there are 0.0 GB, and 0.0 GB on the disk of"),
    23: (1, "the working files cannot be written (No space left on device); choose another --scratch or make room"),
    100: (0, "which is in memory too: --scratch DIR names another"),
}


@pytest.mark.skipif(not can_mount(), reason="only root may mount a small file system")
@pytest.mark.parametrize("megabytes", ENDINGS, ids=["too small for the image", "for a second pass", "enough"])
def test_a_full_disk(folder: Path, tmp_path: Path, megabytes: int) -> None:
    """A sentence, never a signal (SIGBUS)."""
    twice = (folder / "sky.fits", "--background_passes", 2, "--outputs", CATALOG_AND_MAPS)
    command = ["unshare", "--mount", sys.executable, "-c", ON_A_DISK, megabytes, SCRIPT, tmp_path]
    run = [str(part) for part in (*command, *twice)]
    ending, said = subprocess.check_output(run, text=True).splitlines()
    code, expected = ENDINGS[megabytes]
    assert ending == f"{code} []"
    assert expected in said
    assert (tmp_path / "out").exists() == (code == 0)


def test_killed_in_the_middle(folder: Path, tmp_path: Path) -> None:
    """Nothing is left in the scratch folder, where at no time anything can be seen."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    options = ["--memory", "1M", "--scratch", scratch, "--threads", 2]
    command = [sys.executable, SCRIPT, folder / "sky.fits", "--output_dir", tmp_path / "out", *options]
    run = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while Path(f"/proc/{run.pid}/maps").read_text().count(str(scratch)) < 2:
        assert run.poll() is None
        assert time.monotonic() < deadline
    assert os.listdir(scratch) == []
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert os.listdir(scratch) == []


def of_all(pid: int) -> int:
    """Anonymous memory (RssAnon) of a process and its descendants, bytes."""
    try:
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = sum(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:"))
    return own + sum(of_all(int(child)) for child in children)


def test_anonymous_memory_stays_below_the_limit(tmp_path: Path) -> None:
    """The 8192 x 8192 pixels alone are 268 MB, and forked processes have them too."""
    image, limit = tmp_path / "large.fits", 500 * MEGABYTE
    tile = simulate((1024, 1024), 300, seed=8).pixels
    header = fits.Header({"SIMPLE": True, "BITPIX": -32, "NAXIS": 2, "NAXIS1": 8192, "NAXIS2": 8192})
    with fits.StreamingHDU(image, header) as file:
        for _ in range(8):
            file.write(np.tile(tile, (1, 8)).astype(">f4"))
    options = ["--memory", limit, "--threads", 2, "--outputs", CATALOG_AND_MAPS]
    command = [sys.executable, SCRIPT, image, "--output_dir", tmp_path / "out", *options]
    run = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    most = 0
    while run.poll() is None:
        most = max(most, of_all(run.pid))
        time.sleep(0.01)
    assert run.returncode == 0
    assert 100 * MEGABYTE < most < limit
    shutil.rmtree(tmp_path / "out")
    image.unlink()


# ---- What decides


def test_address_space_is_needed_for_files_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`ulimit -v` counts what is mapped; control groups, and limits of data, do not."""
    monkeypatch.setattr(disk_room, "available_memory", lambda: 10**8)
    monkeypatch.setattr(disk_room, "of_the_address_space", lambda: 10**9)
    room = RoomOnDisk(tmp_path)
    room.require("image", "HDU 0", 50_000_000, 4)
    assert room.is_short
    with pytest.raises(InputError, match=r"claims 100000000 pixels, which need 1\.6 GB of memory"):
        RoomOnDisk(tmp_path).require("image", "HDU 0", 100_000_000, 4)


def test_the_limit_is_that_of_all_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(disk_room, "in_use", lambda: 10**8)
    for processes, in_files in ((1, False), (4, True)):
        room = RoomOnDisk(tmp_path, 10**9, processes)
        room.require("image", "HDU 0", 35_000_000, 4)
        assert room.is_short == in_files


@pytest.mark.parametrize("shared", [False, True])
def test_memory_of_no_file_is_in_use(shared: bool) -> None:
    """Pages fresh from the system: an array might be given those that the process had and does not use any more."""
    before = memory.in_use()
    with mmap.mmap(-1, 2**26, flags=mmap.MAP_ANONYMOUS | (mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE)) as pages:
        pages.write(b"1" * len(pages))
        taken = memory.in_use() - before
    assert 0.9 * 2**26 < taken < 1.2 * 2**26


def test_a_file_takes_its_room_at_once(tmp_path: Path) -> None:
    """A disk that is full is seen when the array is made, not when one writes to it."""
    room = RoomOnDisk(tmp_path, memory=1)
    room.require("image", "HDU 0", 1000, 4)
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(OutputError, match="the working files cannot be written"):
        room.empty((free // 4 + 10**9,), np.float32)
    assert os.listdir(tmp_path) == []


def test_files_that_a_noise_map_needs_are_said(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Once, as those of the image are: memory holds the image (4 bytes a pixel), and not the map of 8 as well."""
    monkeypatch.setattr(disk_room, "in_use", lambda: 0)
    monkeypatch.setattr(disk_room, "BYTES_A_PROCESS", 0)
    memory_of_image = 1100 * 1600 * (4 + 4 + disk_room.BYTES_A_PIXEL)
    noise = ["--err_option", "file", "--error_file", str(folder / "noise.fits"), "--threads", "1"]
    for more, times in ((0, 1), (-1, 1), (1100 * 1600 * 8, 0)):
        options = ["--memory", str(memory_of_image + more), "--outputs", "catalog.tsv", "--output_dir", str(tmp_path)]
        assert main([str(folder / "sky.fits"), *noise, *options]) == 0
        assert capsys.readouterr().out.count("Working arrays: in files on the disk of") == times
