"""What is no ordinary file: pipes are read once or given up, everything else is refused; nothing waits for ever.

And files that change while they are read, or that the system does not hand out.
"""

import bz2
import errno
import gzip
import io
import os
import pty
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from source_extraction.errors import InputError
from source_extraction.readers import content
from source_extraction.readers import fits as reader
from source_extraction.readers.images import read_image
from source_extraction.readers.kernels import read_kernel
from tests.hostile import SHAPE, SKY, extract, in_child


def fits_bytes(pixels: np.ndarray = SKY) -> bytes:
    file = io.BytesIO()
    fits.writeto(file, pixels)
    return file.getvalue()


def tiff_bytes() -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, SKY)
    return file.getvalue()


@contextmanager
def writing(path: Path, content: bytes, pause: float = 0) -> Iterator[None]:
    """A program that writes into the pipe at `path`, which it makes, in parts with pauses between them."""
    os.mkfifo(path)

    def write() -> None:
        with suppress(BrokenPipeError), path.open("wb", buffering=0) as pipe:
            half = len(content) // 2
            for part in (content[:half], content[half:]):
                time.sleep(pause)
                for start in range(0, len(part), 60_000):
                    pipe.write(part[start : start + 60_000])

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    yield
    thread.join(30)
    assert not thread.is_alive()


IMAGES = {
    "FITS": fits_bytes(),
    "FITS .gz": gzip.compress(fits_bytes()),
    "FITS .bz2": bz2.compress(fits_bytes()),
    "TIFF": tiff_bytes(),
    "TIFF .gz": gzip.compress(tiff_bytes()),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_images_through_pipes(tmp_path: Path, kind: str) -> None:
    with writing(tmp_path / "pipe", IMAGES[kind], pause=0.2):
        np.testing.assert_array_equal(read_image(tmp_path / "pipe").pixels, SKY)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("image", ["FITS", "TIFF"])
def test_compressed_files(tmp_path: Path, pack: Callable[[bytes], bytes], image: str) -> None:
    (tmp_path / "image").write_bytes(pack(IMAGES[image]))
    np.testing.assert_array_equal(read_image(tmp_path / "image").pixels, SKY)


def test_image_mask_noise_map_and_kernel_through_pipes(tmp_path: Path) -> None:
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[25:35, 35:45] = 1
    pipes = {
        "image": fits_bytes(), "mask": fits_bytes(mask), "noise": fits_bytes(5 + 0 * SKY),
        "kernel": b"\xef\xbb\xbf1 2 1\n2 4 2\n1 2 1\n",
    }  # fmt: skip
    options = ("--mask_file", tmp_path / "mask", "--err_option", "file", "--error_file", tmp_path / "noise")
    options += ("--filter_case", "file", "--filter_file", tmp_path / "kernel")
    with (
        writing(tmp_path / "image", pipes["image"]), writing(tmp_path / "mask", pipes["mask"]),
        writing(tmp_path / "noise", pipes["noise"]), writing(tmp_path / "kernel", pipes["kernel"]),
    ):  # fmt: skip
        ending = extract(tmp_path, tmp_path / "image", *options)
    assert ending.code == 0, ending.said
    through_pipes = (tmp_path / "out" / "catalog.tsv").read_bytes()
    for name, content_of_pipe in pipes.items():
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes(content_of_pipe)
    extract(tmp_path, tmp_path / "image", *options).assert_orderly()
    assert (tmp_path / "out" / "catalog.tsv").read_bytes() == through_pipes


def test_standard_input(tmp_path: Path) -> None:
    """As a pipe of a shell, and as a file that is redirected."""
    reading, writing_end = os.pipe()

    def write() -> None:
        with os.fdopen(writing_end, "wb") as pipe:
            pipe.write(IMAGES["FITS .gz"])

    thread = threading.Thread(target=write)
    thread.start()
    np.testing.assert_array_equal(read_image(Path(f"/dev/fd/{reading}")).pixels, SKY)
    thread.join()
    os.close(reading)
    (tmp_path / "image").write_bytes(IMAGES["FITS"])
    with (tmp_path / "image").open("rb") as file:
        np.testing.assert_array_equal(read_image(Path(f"/dev/fd/{file.fileno()}")).pixels, SKY)


@pytest.fixture
def short_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "SILENCE", 1.0)


def test_pipe_that_nobody_writes_to(tmp_path: Path, short_silence: None) -> None:
    os.mkfifo(tmp_path / "pipe")
    for read in (read_image, read_kernel):
        started = time.monotonic()
        with pytest.raises(InputError, match="nothing has come through this pipe for 1 seconds; give a file"):
            read(tmp_path / "pipe")
        assert time.monotonic() - started < 5


def test_writer_that_falls_silent(tmp_path: Path, short_silence: None) -> None:
    os.mkfifo(tmp_path / "pipe")
    both = os.open(tmp_path / "pipe", os.O_RDWR)  # so that there is a writer
    os.write(both, IMAGES["FITS"][:5000])
    with pytest.raises(InputError, match="nothing has come through this pipe for 1 seconds"):
        read_image(tmp_path / "pipe")
    os.close(both)


def test_empty_pipe(tmp_path: Path) -> None:
    with writing(tmp_path / "pipe", b""), pytest.raises(InputError, match="the file is empty"):
        read_image(tmp_path / "pipe")


def test_pipe_of_more_than_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "available_memory", lambda: 5_000_000)
    with (
        writing(tmp_path / "pipe", bytes(20_000_000)),
        pytest.raises(InputError, match="what comes through this pipe needs more than"),
    ):
        read_image(tmp_path / "pipe")


def linked_in_a_circle(folder: Path) -> Path:
    (folder / "a").symlink_to(folder / "b")
    (folder / "b").symlink_to(folder / "a")
    return folder / "a"


def listening(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "s"))
    return folder / "s"


def terminal(_: Path) -> Path:
    return Path(os.ttyname(pty.openpty()[1]))


# name: (what gives the path, words of the sentence)
NO_FILES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "folder": (lambda folder: folder, "it is a folder; give a file"),
    "zeros": (lambda _: Path("/dev/zero"), "it is a device, not a file; copy"),
    "null": (lambda _: Path("/dev/null"), "it is a device, not a file; copy"),
    "terminal": (terminal, "it is a device, not a file; copy"),
    "socket": (listening, "it is a device, not a file; copy"),
    "circle": (linked_in_a_circle, "its links lead round in a circle; give the file itself"),
    "no such file": (lambda folder: folder / "x", r"cannot be read \(No such file or directory\); check the path"),
    "below a file": (lambda folder: folder / "image" / "x", r"cannot be read \(Not a directory\); check the path"),
    "NUL": (lambda folder: folder / "a\0b", "its name has a NUL character in it; check the path"),
    "long": (lambda folder: folder / ("x" * 300), "its name is too long; rename it"),
    "long path": (lambda folder: folder / "/".join(["x" * 200] * 30), "its name is too long; rename it"),
}


@pytest.mark.parametrize("case", NO_FILES)
@pytest.mark.parametrize("read", [read_image, read_kernel])
def test_what_is_no_file(tmp_path: Path, case: str, read: Callable[[Path], object]) -> None:
    (tmp_path / "image").write_bytes(IMAGES["FITS"])
    make, words = NO_FILES[case]
    path = make(tmp_path)
    with pytest.raises(InputError, match=words):
        read(path)


@pytest.mark.parametrize("kept", [0, 1000, 1_000_000])
def test_file_that_is_cut_while_it_is_read(tmp_path: Path, kept: int) -> None:
    """Once its header is read: a sentence, where a memory map would be a SIGBUS."""
    path = tmp_path / "image.fits"
    with path.open("wb") as file:
        cards = {"SIMPLE": True, "BITPIX": 8, "NAXIS": 2, "NAXIS1": 8000, "NAXIS2": 8000}
        file.write(fits.Header(cards).tostring().encode())
        file.truncate(2880 + 64_000_000)
    stored = reader._stored

    def cut() -> None:
        def first_cut(*arguments: object) -> np.ndarray:
            os.truncate(path, kept)
            return stored(*arguments)

        reader._stored = first_cut

    ending = extract(tmp_path, path, before=cut)
    ending.assert_refused("the FITS file is truncated: ")
    assert "bytes of its pixels are missing" in ending.said


# What the system says of the machine or the account, and how the sentence must tell it from the file.
FAILURES = {
    errno.EMFILE: "this process has too many open files",
    errno.ENFILE: "the system has too many open files",
    errno.ENOMEM: "the system has no memory left",
    errno.EIO: "the disk or network that holds it failed",
    errno.EACCES: r"cannot be read \(Permission denied\)",
    errno.EPERM: r"cannot be read \(Operation not permitted\)",
    errno.ESTALE: r"cannot be read \(Stale file handle\)",
}


class Failing(io.BytesIO):
    """A file of which the system hands out some bytes, and then an error."""

    def __init__(self, data: bytes, good: int, number: int) -> None:
        super().__init__(data)
        self.good, self.number = good, number

    def _fail(self) -> None:
        if self.tell() >= self.good:
            raise OSError(self.number, os.strerror(self.number))

    def read(self, size: int | None = -1) -> bytes:
        self._fail()
        return super().read(size)

    def readinto(self, room: object) -> int:
        self._fail()
        return super().readinto(room)


@pytest.mark.parametrize("number", FAILURES)
@pytest.mark.parametrize("good", [0, 2880])
def test_failures_are_not_the_file_s(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, good: int) -> None:
    (tmp_path / "image").write_bytes(IMAGES["FITS"])
    monkeypatch.setattr(reader, "open_again", lambda _: Failing(IMAGES["FITS"], good, number))
    with pytest.raises(InputError, match=FAILURES[number]) as refused:
        read_image(tmp_path / "image")
    assert "damaged" not in str(refused.value)


def test_too_many_open_files(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(IMAGES["FITS"])
    read_image(tmp_path / "image")  # what it imports is open no more

    def read_without_files() -> int:
        kept = []
        with suppress(OSError):
            while True:
                kept.append(os.dup(1))
        try:
            read_image(tmp_path / "image")
        except InputError as problem:
            print(problem)
            return 1
        return 0

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    ending = in_child(read_without_files, tmp_path / "log", before=few)
    assert ending.code == 1, ending.said
    assert "this process has too many open files; raise its limit (ulimit -n) or close some" in ending.said


def test_memory_error_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: object) -> None:
        raise MemoryError

    (tmp_path / "image").write_bytes(IMAGES["FITS"])
    monkeypatch.setattr(reader, "_stored", none_left)
    with pytest.raises(MemoryError):
        read_image(tmp_path / "image")


@pytest.mark.parametrize("image", ["FITS", "TIFF"])
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_damaged_compression_is_the_file_s(tmp_path: Path, image: str, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(IMAGES[image])
    for damaged in (packed[: len(packed) // 2], packed[:-4], packed[:30], packed[:2000] + b"junk" + packed[2004:]):
        (tmp_path / "image").write_bytes(damaged)
        with pytest.raises(InputError, match=r"damaged.*fetch it again"):
            read_image(tmp_path / "image")


def test_byte_order_mark_before_a_kernel(tmp_path: Path) -> None:
    (tmp_path / "kernel").write_bytes(b"\xef\xbb\xbfCONV NORM\n1 2 1\n2 4 2\n1 2 1\n")
    kernel = read_kernel(tmp_path / "kernel")
    np.testing.assert_array_equal(kernel.weights, [[1, 2, 1], [2, 4, 2], [1, 2, 1]])


def test_kernel_of_gigabytes(tmp_path: Path) -> None:
    with (tmp_path / "kernel").open("wb") as file:
        file.truncate(10 * 2**30)
    with pytest.raises(InputError, match="the kernel is larger than any filter"):
        read_kernel(tmp_path / "kernel")
