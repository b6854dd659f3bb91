"""TIFF files of strangers: no other file is opened, nothing hangs, no codec brings the tool down; what is not in a file
is missing, and what is stored in another sense than brightness is turned round.

Hostile files are read in processes that write down every file they open, how long they take and how much memory.
"""

import io
import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
import pytest
import rasterio
import tifffile

from source_extraction.core.image import Image
from source_extraction.errors import InputError
from source_extraction.readers.images import read_image
from source_extraction.readers.tiff import read_tiff
from tests.conftest import REPOSITORY, succeed

HEIGHT, WIDTH = 60, 70
SKY = np.random.default_rng(3).normal(100, 5, (HEIGHT, WIDTH)).astype(np.float32)
SKY[20:25, 30:35] += 500
COUNTS = np.round(SKY * 10).astype(np.uint16)
DIM = np.clip(SKY / 4, 0, 255).astype(np.uint8)
RGB = np.stack([DIM, DIM // 2, DIM // 3], axis=-1)

# Reads the files that it is given as JSON, a line each: [path, plane]. Answers with a line each.
READER = """
import json, os, resource, sys
import numpy as np
from source_extraction.readers.images import read_image
from source_extraction.errors import InputError
from pathlib import Path
watched, log = sys.argv[1], os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def note(event, arguments):
    if event in ("open", "os.listdir", "os.scandir", "glob.glob") and arguments[0] is not None:
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes, os.PathLike)) else ""
        if os.path.abspath(path).startswith(watched):
            os.write(log, (os.path.abspath(path) + "\\n").encode())
sys.addaudithook(note)
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
def used():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
def own_peak():
    # Not ru_maxrss, which Linux has begin with that of whoever started this process.
    if not os.path.exists("/proc/self/status"):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
for line in sys.stdin:
    path, plane = json.loads(line)
    start, answer = used(), {}
    try:
        image = read_image(Path(path), "image.tif", None, plane)
        with np.errstate(all="ignore"):
            pixels = image.pixels.astype(float)
        answer = {"pixels": pixels.tobytes().hex() if pixels.size < 10000 else ""}
        answer["remarks"] = image.remarks
    except InputError as problem:
        answer = {"sentence": str(problem)}
    answer["seconds"] = used() - start
    answer["memory"] = own_peak() + resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    print(json.dumps(answer), flush=True)
"""


def read_apart(files: list[tuple[Path, int | None]], watched: Path, log: Path) -> list[dict[str, Any]]:
    """What came of each file, in a process that must outlive them all in silence."""
    asked = "".join(json.dumps([str(path), plane]) + "\n" for path, plane in files)
    command = [sys.executable, "-c", READER, str(watched), str(log)]
    run = subprocess.run(command, input=asked, capture_output=True, text=True, check=False, timeout=600, cwd=REPOSITORY)
    assert (run.returncode, run.stderr) == (0, ""), run.stderr
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert len(answers) == len(files)
    return answers


def pixels_of(answer: dict[str, Any]) -> np.ndarray:
    """The pixels of an answer, in a row."""
    return np.frombuffer(bytes.fromhex(answer["pixels"]))


def written(path: Path, *pages: np.ndarray, **options: Any) -> Path:
    """A file of pages as tifffile writes it."""
    with tifffile.TiffWriter(path, **{name: options.pop(name) for name in ("bigtiff", "ome") if name in options}) as to:
        for page in pages:
            to.write(page, **options)
    return path


class Tag(NamedTuple):
    """A tag as the directory spells it; a number in place of `values` is its position, with the count that it has."""

    code: int
    kind: int
    values: list[int] | bytes
    count: int | None = None  # where it is a lie
    at: int | None = None


FORMATS = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 12: "d", 13: "I"}


def tiff(*directories: list[Tag], data: bytes = b"", next_of_last: int = 0) -> bytes:
    """A little-endian file: the header, `data` at position 8, the directories in a chain."""
    file = bytearray(b"II*\0" + struct.pack("<I", 8 + len(data)) + data)
    for number, given_tags in enumerate(directories):
        tags = sorted(given_tags)
        values = len(file) + 2 + 12 * len(tags) + 4
        entries, more = bytearray(struct.pack("<H", len(tags))), bytearray()
        for code, kind, given, count, at in tags:
            value = given if isinstance(given, bytes) else struct.pack(f"<{len(given)}{FORMATS[kind]}", *given)
            length = len(given) if count is None else count
            if at is not None:
                value = struct.pack("<I", at)
            elif len(value) > 4:
                position = struct.pack("<I", values + len(more))
                more += value
                value = position
            entries += struct.pack("<HHI", code, kind, length) + value.ljust(4, b"\0")
        end = values + len(more)
        last = number == len(directories) - 1
        file += entries + struct.pack("<I", next_of_last if last else end) + more
    return bytes(file)


def image_tags(
    *, height: int = HEIGHT, width: int = WIDTH, without: tuple[int, ...] = (), **changed: list[int] | bytes
) -> list[Tag]:
    """The tags of SKY in one strip at position 8; `t262=[3]` changes one."""
    count = HEIGHT * WIDTH * 4
    tags = {256: (4, [width]), 257: (4, [height]), 258: (3, [32]), 259: (3, [1]), 262: (3, [1]), 273: (4, [8])}
    tags |= {277: (3, [1]), 278: (4, [height]), 279: (4, [count]), 339: (3, [3])}
    for name, value in changed.items():
        code = int(name[1:])
        kind = tags[code][0] if code in tags else 2 if isinstance(value, bytes) else 4
        tags[code] = (kind, value)
    return [Tag(code, kind, value) for code, (kind, value) in tags.items() if code not in without]


def read(path: Path, plane: int | None = None) -> Image:
    """The image, in this process."""
    return read_image(path, "image.tif", None, plane)


# --- Only the file that is given is ever opened


OWN, OTHER = "urn:uuid:00000000-0000-0000-0000-000000000001", "urn:uuid:00000000-0000-0000-0000-000000000002"


def ome(files: list[tuple[str, str]], root: str | None = OWN, **sizes: str) -> str:
    """OME metadata of a plane a file: its name, its UUID."""
    data = "".join(
        f'<TiffData FirstC="{i}" IFD="0" PlaneCount="1"><UUID FileName="{name}">{uuid}</UUID></TiffData>'
        for i, (name, uuid) in enumerate(files)
    )
    counts = {"C": str(max(len(files), 1)), "Z": "1", "T": "1"} | sizes
    size = " ".join(f'Size{axis}="{count}"' for axis, count in counts.items())
    own = f'UUID="{root}"' if root else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" {own}><Image ID="Image:0" Name="x">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="float" SizeX="{WIDTH}" SizeY="{HEIGHT}" {size}>'
        f"{data}</Pixels></Image></OME>"
    )


VICTIMS: dict[str, dict[str, Any]] = {
    "plain": {}, "lzw": {"compression": "lzw"}, "tiled": {"tile": (16, 16)}, "bigtiff": {"bigtiff": True},
}  # fmt: skip


def test_no_file_is_opened_that_ome_metadata_name(tmp_path: Path) -> None:
    upload, secret = tmp_path / "upload", tmp_path / "secret"
    upload.mkdir()
    secret.mkdir()
    files: list[tuple[Path, int | None]] = []
    for victim, options in VICTIMS.items():
        there = written(secret / f"{victim}.tif", SKY + 1000, **options)
        written(upload / f"beside_{victim}.tif", SKY + 1000, **options)
        for spelled in (f"../secret/{victim}.tif", str(there), f"beside_{victim}.tif", f"{there}\0.tif"):
            for names in ([spelled], [spelled, spelled]):
                path = upload / f"mine_{len(files)}.ome.tif"
                description = ome([(name.replace("\0", "/"), OTHER) for name in names])
                written(path, SKY, description=description, metadata=None)
                files.append((path, 0 if len(names) > 1 else None))
    companion = ome([]).replace("<Image", f'<BinaryOnly MetadataFile="{secret}/plain.tif" UUID="{OTHER}"/><Image')
    files.append((written(upload / "companion.ome.tif", SKY, description=companion, metadata=None), None))
    *answers, beside = read_apart(files, tmp_path, tmp_path / "opened")
    assert np.array_equal(pixels_of(beside), SKY.ravel())
    for answer in answers:
        assert "its planes lie in other files (" in answer["sentence"]
        assert "and only the file that is given is read; give a file that holds all of its" in answer["sentence"]
    assert {Path(line) for line in (tmp_path / "opened").read_text().splitlines()} == {path for path, _ in files}


def test_a_name_in_ome_metadata_commands_no_terminal(tmp_path: Path) -> None:
    description = ome([("\x9b31m&#10;a" + "b" * 1000, OTHER)])
    with pytest.raises(InputError) as refused:
        read(written(tmp_path / "a.ome.tif", SKY, description=description.encode(), metadata=None))
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_no_file_is_opened_that_lies_beside_a_micro_manager_file(tmp_path: Path) -> None:
    """NDTiff and MMStack have an index or further files in their folder."""
    summary = json.dumps({"Summary": {"Prefix": "mine", "Slices": 4, "Frames": 2}, "MajorVersion": 3}).encode()
    head = struct.pack("<II", 483729, 3) + struct.pack("<II", 2355492, len(summary)) + summary
    for name in ("NDTiff.index", "mine_MMStack_2.ome.tif"):
        (tmp_path / name).write_bytes(b"\0" * 100)
    path = tmp_path / "mine_MMStack_1.ome.tif"
    # The header of NDTiff is where other files have their first directory.
    blob = bytearray(tiff(image_tags(t273=[8 + 512]), data=head.ljust(512, b"\0") + SKY.tobytes()))
    path.write_bytes(bytes(blob))
    (answer,) = read_apart([(path, None)], tmp_path, tmp_path / "opened")
    assert {Path(line) for line in (tmp_path / "opened").read_text().splitlines()} == {path}
    assert np.array_equal(pixels_of(answer), SKY.ravel())


def test_the_index_of_a_folder_is_not_taken_for_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tifffile asks for NDTiff.index beside the file; without a folder, that is where the process runs."""
    (tmp_path / "NDTiff.index").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    asked: list[str] = []
    monkeypatch.setattr(tifffile.TiffFile, "micromanager_metadata", property(lambda self: {"MajorVersion": 3}))
    monkeypatch.setattr("os.path.exists", lambda path: asked.append(path) or True)
    assert np.array_equal(read(written(tmp_path / "a.tif", SKY)).pixels, SKY)
    assert asked == []


@pytest.mark.parametrize("root", [OWN, None])
def test_an_ome_file_that_was_renamed_is_read(tmp_path: Path, root: str | None) -> None:
    description = ome([("as_it_was.ome.tif", OWN)] * 2, root)
    description = description.replace('FirstC="1" IFD="0"', 'FirstC="1" IFD="1"')
    with tifffile.TiffWriter(tmp_path / "dataset_7.dat") as to:
        to.write(SKY, description=description, metadata=None)
        to.write(2 * SKY, metadata=None)
    for plane in (0, 1):
        assert np.array_equal(read(tmp_path / "dataset_7.dat", plane).pixels, (plane + 1) * SKY)


def test_a_file_in_memory_is_read() -> None:
    file = io.BytesIO()
    tifffile.imwrite(file, SKY, compression="lzw")
    assert np.array_equal(read_tiff(file, "pipe", None).pixels, SKY)


# --- Small files that hang, or eat memory


def many_sub_directories(number: int) -> bytes:
    """All of them the same one."""
    offsets = struct.pack("<I", 8 + 4 * number) * number
    tags = [*image_tags(t273=[8], t279=[100]), Tag(330, 13, b"", number, 8)]
    return tiff(tags, data=offsets)


def chain(number: int, to_first: bool = False) -> bytes:
    """Directories without end, or as many as there can be."""
    data = SKY.tobytes()
    return tiff(*[image_tags()] * number, data=data, next_of_last=8 + len(data) if to_first else 0)


def shared_values(number: int, length: int) -> bytes:
    """Directories whose descriptions are all the same long text."""
    text = (b"x" * length)[:-1] + b"\0"
    tags = [*image_tags(t279=[length]), Tag(270, 2, b"", length, 8)]
    return tiff(*[tags] * number, data=text)


def described(text: str, **more: list[int]) -> bytes:
    return tiff(image_tags(t270=text.encode() + b"\0", **more), data=SKY.tobytes())


def one_tile(side: int, width: int) -> bytes:
    """Each of the tiles has the same compressed bytes, of which there are more than a tile needs."""
    number = (width // side) ** 2
    stream = zlib.compress(np.random.default_rng(0).bytes(600_000))
    tags = image_tags(height=width, width=width, without=(273, 278, 279), t259=[8], t322=[side], t323=[side])
    position = struct.pack("<I", 8) * number
    sizes = struct.pack("<I", len(stream)) * number
    more = [Tag(324, 4, b"", number, 8 + len(stream)), Tag(325, 4, b"", number, 8 + len(stream) + len(position))]
    return tiff([*tags, *more], data=stream + position + sizes)


def zeros(size: int, damage: int = 0) -> bytes:
    """As many pixels of 0 as deflate packs into a number of bytes, in one strip; the last bytes may be wrong."""
    side = int((size * 1000 / 4) ** 0.5)
    stream = zlib.compress(bytes(side * side * 4), 9)
    stream = stream[: len(stream) - damage] + bytes(damage)
    return tiff(image_tags(height=side, width=side, t259=[8], t279=[len(stream)]), data=stream)


def described_in_itself() -> bytes:
    """A directory whose SubIFD it is."""
    data = SKY.tobytes()
    text = json.dumps({"shape": [HEIGHT, WIDTH]}).encode() + b"\0"
    return tiff([*image_tags(t270=text), Tag(330, 13, struct.pack("<I", 8 + len(data)), 1)], data=data)


MODULO = (
    '<StructuredAnnotations><XMLAnnotation ID="a" Namespace="openmicroscopy.org/omero/dimension/modulo"><Value><Modulo>'
    '<ModuloAlongZ Type="lifetime" Start="0" End="1e12" Step="1"/></Modulo></Value></XMLAnnotation>'
    "</StructuredAnnotations>"
)
TILES = {322: [16], 323: [16]}
HOSTILE: dict[str, bytes] = {
    "100,000 SubIFDs": many_sub_directories(100_000),
    "directories in a circle": chain(3, to_first=True),
    "directories in a large circle": chain(300, to_first=True),
    "directories in a small circle": tiff(image_tags(), data=SKY.tobytes(), next_of_last=8 + SKY.nbytes),
    "directories by the thousand": chain(6000),
    "values that are shared": shared_values(3000, 400_000),
    "strips by the million": tiff(image_tags(height=10**9, width=1, t278=[1]), data=SKY.tobytes()),
    "pixels by the billion": tiff(image_tags(height=2**31, width=2**31), data=SKY.tobytes()),
    "pixels by the billion, strips": tiff(image_tags(height=30000, width=30000, t278=[1]), data=SKY.tobytes()),
    "pixels by the billion, deflate": tiff(
        image_tags(height=2**15, width=2**15, t259=[8], t279=[len(zlib.compress(bytes(10**6)))]),
        data=zlib.compress(bytes(10**6)),
    ),
    "zeros by the hundred million": zeros(1_000_000),
    "zeros by the hundred million, damaged": zeros(1_000_000, 7),
    "samples by the billion": tiff(
        [tag for tag in image_tags() if tag.code != 277] + [Tag(277, 4, [2**31])], data=SKY.tobytes()
    ),
    "rows of strips: none": tiff(image_tags(t278=[0]), data=SKY.tobytes()),
    "tiles of nothing": tiff(image_tags(t322=[0], t323=[0], t324=[8], t325=[100]), data=SKY.tobytes()),
    "tiles of the size of the world": tiff(
        image_tags(t322=[2**31], t323=[2**31], t324=[8], t325=[100]), data=SKY.tobytes()
    ),
    "no pixels": tiff(image_tags(height=0), data=SKY.tobytes()),
    "a tag of 2^32 - 1 values": tiff([*image_tags(), Tag(65000, 12, b"", 2**32 - 1, 8)], data=SKY.tobytes()),
    "offsets of 2^32 - 1 strips": tiff(
        [*image_tags(without=(273,)), Tag(273, 4, b"", 2**32 - 1, 8)], data=SKY.tobytes()
    ),
    "a palette of 2^32 - 1 colours": tiff(
        [*image_tags(t262=[3], t258=[8], t339=[1]), Tag(320, 3, b"", 2**32 - 1, 8)], data=SKY.tobytes()
    ),
    "OME entities": described(
        '<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + ome([("a.tif", OWN)])[38:]
    ),
    "OME modulo": described(ome([("a", OWN)]).replace("</Image>", "</Image>" + MODULO)),
    **{
        f"OME Size{axis} {size}": described(ome([("a", OWN)], **{axis: size}))
        for axis, size in (
            ("C", "1000000000"),
            ("Z", "1000000000"),
            ("T", "9" * 30),
            ("C", "-5"),
            ("Z", "0"),
            ("T", "x"),
        )
    },
    **{
        f"OME {name} {number}": described(ome([("a", OWN)], C="100").replace(old, f'{name}="{number}"'))
        for name, old in (("PlaneCount", 'PlaneCount="1"'), ("NumPlanes", 'PlaneCount="1"'), ("IFD", 'IFD="0"'))
        for number in ("1000000000", "-7")
    },
    **{
        f"ImageJ {name} {number}": described(f"ImageJ=1.53t\nimages=2\n{name}={number}\nhyperstack=true\n")
        for name in ("images", "frames", "slices", "channels")
        for number in ("1000000000", "9" * 30, "-3")
    },
    **{
        f"shaped {shape}": described(json.dumps({"shape": shape}))
        for shape in ([10**9, HEIGHT, WIDTH], [10**30, 10**30], [-1, HEIGHT, WIDTH], [0], [])
    },
    "tiles that are all the same": one_tile(64, 8192),
    "directories in themselves": described_in_itself(),
    "elements in elements": described("<OME>" + "<a>" * 100_000 + "</a>" * 100_000 + "</OME>"),
    "MetaMorph stack": tiff(
        [*image_tags(), Tag(33628, 4, b"", 3000, 8), Tag(33629, 5, b"", 2000, 8)], data=SKY.tobytes()
    ),
    "Zeiss LSM": tiff([*image_tags(), Tag(34412, 1, b"", 5000, 8)], data=SKY.tobytes()),
    "FluoView": tiff([*image_tags(), Tag(34361, 1, b"", 5000, 8)], data=SKY.tobytes()),
    "ScanImage": described("state.configPath=''\nSI.LINE_FORMAT_VERSION=1\nframe = 1000000000\n"),
}


def test_hostile_files_end_soon(tmp_path: Path) -> None:
    files: list[tuple[Path, int | None]] = []
    for number, (_, content) in enumerate(HOSTILE.items()):
        assert len(content) < 1.3e6
        for plane in (None, 0):
            path = tmp_path / f"{number}_{plane}.tif"
            path.write_bytes(content)
            files.append((path, plane))
    answers = read_apart(files, tmp_path, tmp_path / "opened")
    for name, answer in zip([name for name in HOSTILE for _ in range(2)], answers, strict=True):
        assert answer["seconds"] < 10, name
        assert answer["memory"] < 1e6, name  # kB
        assert "pixels" in answer or re_said(answer["sentence"]), (name, answer)


def re_said(sentence: str) -> bool:
    """One sentence that names the image, and no exception of Python's."""
    return sentence.startswith("image.tif: ") and "; " in sentence and "Traceback" not in sentence


@pytest.mark.parametrize(
    ("case", "words"),
    {
        "100,000 SubIFDs": "it lists 100001 images and more, which 0.4 MB cannot hold",
        "directories in a circle": "its directories lead back to one another",
        "directories in a large circle": "its directories lead back to one another",
        "directories in a small circle": "its directories lead back to one another",
        "values that are shared": "its tags hold more than the whole file",
        "OME SizeC 1000000000": "its OME metadata claim 1000000000 planes, and it has 1 page",
        "OME SizeC -5": "its OME metadata hold a size below 1",
        "OME SizeT x": "its OME metadata hold no number where one must be",
        "OME PlaneCount 1000000000": "its OME metadata claim 1000000000 planes",
        "OME entities": "its OME metadata define entities of their own",
        "OME modulo": "its OME metadata claim 1e+12 labels for an axis",
    }.items(),
)
def test_hostile_files_are_refused_for_what_they_are(tmp_path: Path, case: str, words: str) -> None:
    (tmp_path / "a.tif").write_bytes(HOSTILE[case])
    with pytest.raises(InputError, match=words.replace("+", r"\+")):
        read(tmp_path / "a.tif")


# --- Compressed pixels


def damaged(content: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """A file of one strip or tile with damage in its stream, and with sizes in the directory that disagree with it."""
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages.first
        begin, length = page.dataoffsets[0], page.databytecounts[0]
        sizes = {code: page.tags[code].valueoffset for code in (256, 257, 278, 322, 323) if code in page.tags}
    for _ in range(6):
        new = bytearray(content)
        for position in rng.integers(begin, begin + length, rng.integers(1, 9)):
            new[position] = rng.integers(256)
        yield bytes(new)
    new = bytearray(content)
    new[begin + length // 2 : begin + length] = bytes(length - length // 2)
    yield bytes(new)
    new = bytearray(content)
    new[begin : begin + length] = rng.bytes(length)
    yield bytes(new)
    for position in sizes.values():
        for value in (16, 48, 160):
            new = bytearray(content)
            new[position : position + 2] = struct.pack("<H", value)
            yield bytes(new)


CODECS: dict[str, dict[str, Any]] = {
    name: options
    for name, options in {
        "lzw": {}, "deflate": {}, "packbits": {}, "zstd": {}, "lzma": {}, "jpeg": {"data": DIM}, "webp": {"data": RGB},
        "jpeg2000": {"data": COUNTS}, "jpegxl": {"data": COUNTS}, "jpegxr": {"data": DIM}, "png": {"data": COUNTS},
        "lerc": {}, "pixtiff": {}, "lzw, predictor": {"predictor": True}, "zstd, predictor": {"predictor": True},
    }.items()
    if hasattr(tifffile.COMPRESSION, {"jpeg2000": "JPEG2000"}.get(name, name.split(",")[0].upper()))
}  # fmt: skip


@pytest.fixture(scope="module")
def damaged_streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What came of the damaged files, by codec; they all are read by one process, which must outlive them."""
    folder, rng = tmp_path_factory.mktemp("streams"), np.random.default_rng(15)
    names: list[str] = []
    files: list[tuple[Path, int | None]] = []
    for name, options in CODECS.items():
        for tile in ({}, {"tile": (64, 64)}):
            content = io.BytesIO()
            more = {key: value for key, value in options.items() if key != "data"}
            pixels = np.resize(options.get("data", SKY), (64, 64, *options.get("data", SKY).shape[2:]))
            tifffile.imwrite(content, pixels, compression=name.split(",")[0], **tile, **more)
            for new in damaged(content.getvalue(), rng):
                path = folder / f"{len(files)}.tif"
                path.write_bytes(new)
                files.append((path, 0 if pixels.ndim > 2 else None))
                names.append(name)
    answers = read_apart(files, folder, folder / "opened")
    return {name: [a for n, a in zip(names, answers, strict=True) if n == name] for name in CODECS}


def test_all_codecs_are_here() -> None:
    assert {"lzw", "deflate", "packbits", "zstd", "jpeg", "lzma", "webp", "jpeg2000", "jpegxl"} <= set(CODECS)


@pytest.mark.parametrize("codec", CODECS)
def test_damaged_streams_bring_nothing_down(damaged_streams: dict[str, list[dict[str, Any]]], codec: str) -> None:
    for answer in damaged_streams[codec]:
        assert answer["seconds"] < 10
        assert answer["memory"] < 1e6
        assert "pixels" in answer or re_said(answer["sentence"])
    assert any("sentence" in answer for answer in damaged_streams[codec])


@pytest.mark.parametrize("number", [11, 6, 9, 24])
def test_a_decoder_that_dies_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """SIGSEGV, SIGABRT, SIGKILL, SIGXCPU, in the middle of the pixels."""
    path = written(tmp_path / "a.tif", SKY, compression="zstd")
    monkeypatch.setattr(imagecodecs, "zstd_decode", lambda *_, **__: os.kill(os.getpid(), number))
    with pytest.raises(InputError) as refused:
        read(path)
    words = {9: "was killed, as when memory runs out", 24: "takes far longer than files of its size do"}
    assert words.get(number, "damaged or truncated (its pixels bring the decoder down); fetch it") in str(refused.value)


def test_a_decoder_that_does_not_end_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.tif", SKY, compression="zstd")
    monkeypatch.setattr("source_extraction.readers.tiff.SECONDS", 0.2)

    def busy(*_: object, **__: object) -> None:
        while True:
            pass

    monkeypatch.setattr(imagecodecs, "zstd_decode", busy)
    with pytest.raises(InputError, match="reading the TIFF file takes far longer than files of its size do"):
        read(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to a limit of address space")
def test_a_decoder_that_takes_all_memory_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.tif", SKY, compression="zstd")
    monkeypatch.setattr(imagecodecs, "zstd_decode", lambda *_, **__: bytes(8 * 10**9))
    monkeypatch.setattr("source_extraction.readers.tiff.WORKERS", 1)
    with pytest.raises(InputError, match="reading the TIFF file takes far more memory than files of its size do"):
        read(path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to a limit of address space")
def test_memory_that_the_machine_lacks_is_not_the_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.tif", SKY, compression="zstd")
    monkeypatch.setattr("source_extraction.readers.tiff._limit_memory", lambda _: False)

    def lacking(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(imagecodecs, "zstd_decode", lacking)
    with pytest.raises(MemoryError):
        read(path)


# --- MinIsWhite, palettes, GDAL's scale


INVERTED = "MinIsWhite: values are inverted, so that bright is large"


def differences(pixels: np.ndarray) -> np.ndarray:
    """What does not depend on where zero is."""
    return pixels.astype(float) - np.nanmin(pixels.astype(float))


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"])
def test_min_is_white(tmp_path: Path, kind: str) -> None:
    stored = np.clip(np.round((SKY - 100) / 2), -128, 127) * -1
    bounds = np.iinfo(kind) if "int" in kind else None
    stored = np.clip(
        stored + (100 if kind.startswith("u") else 0), *((bounds.min, bounds.max) if bounds else (-1e9, 1e9))
    )
    stored = stored.astype(kind)
    stored[0, 0], stored[1, 1] = (bounds.min, bounds.max) if bounds else (-1e6, 1e6)
    image = read(written(tmp_path / "a.tif", stored, photometric="miniswhite"))
    assert image.pixels.dtype == kind
    assert np.array_equal(differences(image.pixels), differences(-stored.astype(float)))
    assert image.remarks == (INVERTED,)


def test_min_is_white_of_unsigned_numbers_is_what_it_was(tmp_path: Path) -> None:
    image = read(written(tmp_path / "a.tif", 65535 - COUNTS, photometric="miniswhite"))
    assert np.array_equal(image.pixels, COUNTS)


@pytest.mark.parametrize("hole", [np.nan, np.inf])
def test_min_is_white_with_a_value_that_is_none(tmp_path: Path, hole: float) -> None:
    stored = -SKY
    stored[:5] = hole
    image = read(written(tmp_path / "a.tif", stored, photometric="miniswhite"))
    assert not np.isfinite(image.pixels[:5]).any()
    assert np.allclose(differences(image.pixels[5:]), differences(SKY[5:]), atol=1e-4)


@pytest.mark.parametrize("kind", ["uint16", "float32"])
def test_nodata_is_a_stored_value(tmp_path: Path, kind: str) -> None:
    stored = (65535 - COUNTS.astype(float)).astype(kind)
    stored[:20] = 0
    nodata = [(42113, "s", 2, "0", True)]
    image = read(written(tmp_path / "a.tif", stored, photometric="miniswhite", extratags=nodata))
    assert np.isnan(image.pixels[:20]).all()
    assert np.array_equal(differences(image.pixels[20:]), differences(COUNTS[20:]))


def test_without_photometric_interpretation_values_are_as_stored(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(image_tags(without=(262,)), data=SKY.tobytes()))
    image = read(tmp_path / "a.tif")
    assert np.array_equal(image.pixels, SKY)
    assert image.remarks == ()


def palette(colors: np.ndarray) -> dict[str, Any]:
    return {"photometric": "palette", "colormap": colors.astype(np.uint16)}


def test_a_palette_gives_the_grey_of_its_colours(tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(256)
    greys = np.argsort(order) * 257
    image = read(written(tmp_path / "a.tif", order[DIM].astype(np.uint8), **palette(np.stack([greys] * 3))))
    assert np.array_equal(image.pixels, 257.0 * DIM)
    assert any("0.299 red + 0.587 green + 0.114 blue" in remark for remark in image.remarks)
    colors = np.random.default_rng(1).integers(0, 65536, (3, 256))
    image = read(written(tmp_path / "b.tif", DIM, **palette(colors)))
    assert np.allclose(image.pixels, np.tensordot([0.299, 0.587, 0.114], colors, 1)[DIM], rtol=1e-6)


def test_nodata_of_a_palette_is_an_index(tmp_path: Path) -> None:
    colors = np.stack([np.arange(256) * 257] * 3)
    nodata = [(42113, "s", 3, str(DIM[0, 0]), True)]
    image = read(written(tmp_path / "a.tif", DIM, extratags=nodata, **palette(colors)))
    assert np.array_equal(np.isnan(image.pixels), DIM[0, 0] == DIM)


def gdal_metadata(*items: tuple[str, int | None, float]) -> list[tuple[int, str, int, str, bool]]:
    text = "".join(
        f'<Item name="{role.upper()}"' + (f' sample="{n}"' if n is not None else "") + f' role="{role}">{value}</Item>'
        for role, n, value in items
    )
    text = f"<GDALMetadata>{text}</GDALMetadata>"
    return [(42112, "s", len(text) + 1, text, True), (42113, "s", 4, "100", True)]


def test_gdal_scale_and_offset_apply_to_what_is_stored(tmp_path: Path) -> None:
    stored = COUNTS.copy()
    stored[:7] = 100
    tags = gdal_metadata(("scale", 0, 0.5), ("offset", 0, 10.0))
    image = read(written(tmp_path / "a.tif", stored, extratags=tags))
    assert np.isnan(image.pixels[:7]).all()
    assert np.array_equal(image.pixels[7:], 0.5 * COUNTS[7:] + 10)
    assert image.remarks == ("GDAL's scale and offset are applied: 0.5 x stored value + 10",)


def test_gdal_scale_of_a_channel(tmp_path: Path) -> None:
    tags = gdal_metadata(("scale", 1, 4.0), ("scale", 2, 0.0), ("offset", 2, 5.0))
    path = written(tmp_path / "a.tif", np.stack([COUNTS] * 3, axis=-1), photometric="rgb", extratags=tags)
    for plane, factor in enumerate((1, 4, 1)):
        assert np.array_equal(read(path, plane).pixels, factor * COUNTS.astype(float))


@pytest.mark.parametrize("text", ["<GDALMetadata>", "x", '<a><Item role="scale">one</Item></a>', "<a/>"])
def test_gdal_metadata_that_are_none(tmp_path: Path, text: str) -> None:
    tags = [(42112, "s", len(text) + 1, text, True)]
    assert np.array_equal(read(written(tmp_path / "a.tif", COUNTS, extratags=tags)).pixels, COUNTS)


# --- Pages that are no image


def test_a_thumbnail_before_the_image_is_not_the_image(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as to:
        to.write(COUNTS[::8, ::8], contiguous=False, subfiletype=1)
        to.write(COUNTS, contiguous=False)
    image = read(tmp_path / "a.tif")
    assert np.array_equal(image.pixels, COUNTS)
    assert image.origin == "page 1"


@pytest.mark.parametrize("options", [{}, {"compression": "deflate", "rowsperstrip": 9}], ids=["plain", "deflate"])
def test_a_mask_page_is_the_mask(tmp_path: Path, options: dict[str, Any]) -> None:
    good = np.ones(COUNTS.shape, bool)
    good[10:30, 10:50] = False
    with tifffile.TiffWriter(tmp_path / "a.tif") as to:
        to.write(COUNTS, contiguous=False)
        to.write(good, contiguous=False, subfiletype=4, photometric="mask", **options)
    image = read(tmp_path / "a.tif")
    assert np.array_equal(np.isnan(image.pixels), ~good)
    assert np.array_equal(image.pixels[good], COUNTS[good])


def test_a_mask_alone_is_an_image(tmp_path: Path) -> None:
    assert np.array_equal(
        read(written(tmp_path / "a.tif", DIM > 30, subfiletype=4, photometric="mask")).pixels, DIM > 30
    )


# --- Strips and tiles that are not in the file


STRIPS = [SKY[row : row + 6].tobytes() for row in range(0, HEIGHT, 6)]


def in_strips(offsets: int, counts: int, deflate: bool = False) -> bytes:
    """SKY in ten strips, of which the directory lists some."""
    strips = [zlib.compress(strip) for strip in STRIPS] if deflate else STRIPS
    positions = [8 + sum(map(len, strips[:i])) for i in range(10)]
    tags = image_tags(
        t259=[8 if deflate else 1], t278=[6], t273=positions[:offsets], t279=[len(strip) for strip in strips][:counts]
    )
    return tiff(tags, data=b"".join(strips))


def with_numbers(content: bytes, code: int, **changed: int) -> bytes:
    """The file with another number `n3` in place 3 of the values of a tag."""
    new = bytearray(content)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        tag = file.pages.first.tags[code]
        size = {3: "<H", 4: "<I"}[tag.dtype]
        for place, number in changed.items():
            struct.pack_into(size, new, tag.valueoffset + int(place[1:]) * struct.calcsize(size), number)
    return bytes(new)


def with_count(content: bytes, code: int, count: int) -> bytes:
    """The file with another count in a tag."""
    new = bytearray(content)
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        struct.pack_into("<I", new, file.pages.first.tags[code].offset + 4, count)
    return bytes(new)


def in_tiles(**options: Any) -> bytes:
    content = io.BytesIO()
    tifffile.imwrite(content, SKY, tile=(32, 32), **options)
    return content.getvalue()


END = 8 + SKY.nbytes
# name: (the file, rows from which on it is missing, how many of how many strips or tiles)
MISSING: dict[str, tuple[bytes, Any, str]] = {
    "3 of 10 strips": (in_strips(3, 3), np.s_[18:], "7 of 10"),
    "9 of 10 strips": (in_strips(9, 9), np.s_[54:], "1 of 10"),
    "1 of 10 strips": (in_strips(1, 1), np.s_[6:], "9 of 10"),
    "9 of 10 strips, deflate": (in_strips(9, 9, True), np.s_[54:], "1 of 10"),
    "10 offsets, 3 counts": (in_strips(10, 3), np.s_[18:], "7 of 10"),
    "9 offsets, 10 counts": (in_strips(9, 10), np.s_[54:], "1 of 10"),
    "offset 0": (with_numbers(in_strips(10, 10), 273, n2=0), np.s_[12:18], "1 of 10"),
    "count 0": (with_numbers(in_strips(10, 10), 279, n2=0), np.s_[12:18], "1 of 10"),
    "count 0, deflate": (with_numbers(in_strips(10, 10, True), 279, n2=0), np.s_[12:18], "1 of 10"),
    "offset beyond the end": (with_numbers(in_strips(10, 10), 273, n9=10**6), np.s_[54:], "1 of 10"),
    "a count that is too small": (with_numbers(in_strips(10, 10), 279, n0=100), np.s_[:6], "1 of 10"),
    "5 of 6 tiles": (with_count(in_tiles(), 324, 5), np.s_[32:, 64:], "1 of 6"),
    "5 of 6 tiles, zstd": (
        with_count(with_count(in_tiles(compression="zstd"), 324, 5), 325, 5), np.s_[32:, 64:], "1 of 6"
    ),
    "rows that no strip holds": (
        tiff(image_tags(height=90, t278=[60], t279=[SKY.nbytes]), data=SKY.tobytes()), np.s_[60:], "1 of 2"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MISSING)
def test_strips_and_tiles_that_are_not_in_the_file_are_missing(tmp_path: Path, case: str) -> None:
    content, missing, said = MISSING[case]
    (tmp_path / "a.tif").write_bytes(content)
    images = [read(tmp_path / "a.tif") for _ in range(3)]
    expected = np.full(images[0].shape, np.nan, np.float32)
    expected[:HEIGHT] = SKY
    expected[missing] = np.nan
    for image in images:
        assert np.array_equal(image.pixels, expected, equal_nan=True)
        assert image.remarks == (f"{said} strips or tiles are not in the file: their pixels are missing",)


@pytest.mark.parametrize("deflate", [False, True])
def test_a_file_that_was_cut_between_its_strips(tmp_path: Path, deflate: bool) -> None:
    """The directory comes first, as libtiff can write it."""
    strips = [zlib.compress(strip) for strip in STRIPS] if deflate else STRIPS
    begin = len(tiff(image_tags(t273=[0] * 10, t279=[0] * 10)))
    positions = [begin + sum(map(len, strips[:i])) for i in range(10)]
    tags = image_tags(t259=[8 if deflate else 1], t278=[6], t273=positions, t279=[len(strip) for strip in strips])
    (tmp_path / "a.tif").write_bytes((tiff(tags) + b"".join(strips))[: positions[4] + 100])
    image = read(tmp_path / "a.tif")
    assert np.array_equal(image.pixels[:24], SKY[:24])
    assert np.isnan(image.pixels[24:]).all()
    assert image.remarks == ("6 of 10 strips or tiles are not in the file: their pixels are missing",)


def test_a_file_without_any_of_its_strips_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(with_numbers(in_strips(10, 10), 273, **{f"n{i}": 0 for i in range(10)}))
    with pytest.raises(InputError, match="none of the strips and tiles of the image are in it"):
        read(tmp_path / "a.tif")


def test_a_plane_of_an_ome_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.ome.tif", SKY, description=ome([("a", OWN)], C="3"), metadata=None)
    with pytest.raises(InputError, match="the plane is not in the TIFF file; choose another one with --plane K"):
        read(path, 2)


def test_missing_pixels_are_masked_and_said(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(in_strips(9, 9))
    said = succeed(tmp_path / "a.tif", "--outputs", "catalog.tsv", folder=tmp_path)
    assert "1 of 10 strips or tiles are not in the file: their pixels are missing\n" in said
    assert "Masked pixels: 420 " in said


def test_what_tifffile_logs_is_not_for_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(HOSTILE["a tag of 2^32 - 1 values"])
    said = succeed(tmp_path / "a.tif", "--outputs", "catalog.tsv", folder=tmp_path)
    assert "Tags of the TIFF file are damaged and were passed over (number 65000)\n" in said


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_gdal_agrees_on_what_is_missing(tmp_path: Path) -> None:
    """Sparse files, masks in the file, nodata: as GDAL writes and reads them."""
    profile = {"driver": "GTiff", "width": WIDTH, "height": HEIGHT, "count": 1, "dtype": "uint16"}
    tiles = {"tiled": True, "blockxsize": 32, "blockysize": 32}
    with rasterio.open(tmp_path / "sparse.tif", "w", **profile, **tiles, SPARSE_OK=True, nodata=7) as to:
        to.write(COUNTS[:32, :32], 1, window=((0, 32), (0, 32)))
    good = COUNTS > 1000
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(tmp_path / "mask.tif", "w", **profile) as to:
        to.write(COUNTS, 1)
        to.write_mask(good)
    with rasterio.open(
        tmp_path / "white.tif", "w", **profile, photometric="MINISWHITE", nodata=int(COUNTS[0, 0])
    ) as to:
        to.write(COUNTS, 1)
    for name in ("sparse.tif", "mask.tif", "white.tif"):
        with rasterio.open(tmp_path / name) as file:
            expected = file.read(1, masked=True)
        pixels = read(tmp_path / name).pixels
        assert np.array_equal(np.isnan(pixels), np.ma.getmaskarray(expected)), name
        there = ~np.isnan(pixels)
        assert np.array_equal(pixels[there], (65535 - expected if name == "white.tif" else expected)[there]), name


# --- Ordinary files


KINDS = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float16", "float32", "float64"]
ORDINARY: dict[str, dict[str, Any]] = {
    "plain": {}, "strips": {"rowsperstrip": 7}, "tiles": {"tile": (32, 32)}, "big": {"bigtiff": True},
    "big-endian": {"byteorder": ">"}, "big-endian tiles": {"byteorder": ">", "tile": (16, 16), "bigtiff": True},
    "lzw": {"compression": "lzw"}, "lzw predictor": {"compression": "lzw", "predictor": True, "rowsperstrip": 5},
    "deflate": {"compression": "deflate", "byteorder": ">"}, "zstd": {"compression": "zstd", "tile": (32, 32)},
    "packbits": {"compression": "packbits"}, "OME": {"ome": True}, "LZMA": {"compression": "lzma", "rowsperstrip": 1},
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_files_give_what_was_written(tmp_path: Path, kind: str) -> None:
    pixels = (SKY / 5).astype(kind)
    for name, options in ORDINARY.items():
        if kind == "float16" and name in ("OME", "lzw predictor"):
            continue
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", **options)
        image = read(tmp_path / "a.tif")
        assert np.array_equal(image.pixels, pixels), name
        assert image.pixels.dtype == kind
        assert (image.remarks, image.origin) == ((), "page 0"), name


STACKS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "pages": lambda path, cube: tifffile.imwrite(path, cube, photometric="minisblack"),
    "pages, lzw": lambda path, cube: tifffile.imwrite(path, cube, photometric="minisblack", compression="lzw"),
    "pages, tiles": lambda path, cube: tifffile.imwrite(path, cube, photometric="minisblack", tile=(16, 16)),
    "pages without a word": lambda path, cube: tifffile.imwrite(path, cube, photometric="minisblack", metadata=None),
    "truncated": lambda path, cube: tifffile.imwrite(path, cube, photometric="minisblack", metadata={"truncate": True}),
    "ImageJ": lambda path, cube: tifffile.imwrite(path, cube, imagej=True),
    "ImageJ, lzw": lambda path, cube: tifffile.imwrite(path, cube, imagej=True, compression="lzw"),
    "OME": lambda path, cube: tifffile.imwrite(path, cube, ome=True, metadata={"axes": "CYX"}),
    "OME, tiles": lambda path, cube: tifffile.imwrite(path, cube, ome=True, metadata={"axes": "ZYX"}, tile=(32, 32)),
    "planar": lambda path, cube: tifffile.imwrite(path, cube, photometric="rgb", planarconfig="separate"),
    "planar, zstd": lambda path, cube: tifffile.imwrite(
        path, cube, photometric="rgb", planarconfig="separate", compression="zstd"
    ),
    "RGB": lambda path, cube: tifffile.imwrite(path, np.moveaxis(cube, 0, -1).copy(), photometric="rgb"),
    "RGB, tiles": lambda path, cube: tifffile.imwrite(
        path, np.moveaxis(cube, 0, -1).copy(), photometric="rgb", tile=(16, 16), compression="deflate"
    ),
    "volume": lambda path, cube: tifffile.imwrite(
        path, cube, photometric="minisblack", volumetric=True, tile=(1, 16, 16)
    ),
    "five axes": lambda path, cube: tifffile.imwrite(path, cube[:, None, None], ome=True, metadata={"axes": "TZCYX"}),
}


@pytest.mark.parametrize("case", STACKS)
def test_planes_of_stacks_are_what_tifffile_gives(tmp_path: Path, case: str) -> None:
    cube = np.stack([COUNTS, COUNTS + 1, COUNTS * 2])
    STACKS[case](tmp_path / "a.tif", cube)
    for plane in range(3):
        image = read(tmp_path / "a.tif", plane)
        assert np.array_equal(image.pixels, cube[plane])
        assert (image.remarks, image.origin) == ((), f"plane {plane}")


def test_a_palette_of_two_colours(tmp_path: Path) -> None:
    tags = image_tags(without=(339,), t258=[1], t262=[3], t279=[HEIGHT * 9])
    tags.append(Tag(320, 3, [0, 65535] * 3))
    (tmp_path / "a.tif").write_bytes(tiff(tags, data=np.packbits(DIM > 30, axis=1).tobytes()))
    assert np.array_equal(read(tmp_path / "a.tif").pixels, 65535.0 * (DIM > 30))


def test_bits_that_fill_no_bytes(tmp_path: Path) -> None:
    assert np.array_equal(read(written(tmp_path / "1.tif", DIM > 30, photometric="minisblack")).pixels, DIM > 30)
    packed = tifffile.imread(written(tmp_path / "12.tif", COUNTS % 4096, bitspersample=12, photometric="minisblack"))
    assert np.array_equal(read(tmp_path / "12.tif").pixels, packed)
    inverted = read(written(tmp_path / "w.tif", COUNTS % 4096, bitspersample=12, photometric="miniswhite")).pixels
    assert np.array_equal(inverted, 4095 - packed)


def test_without_processes_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows: nothing is limited, and nothing of this process is changed."""
    for module in ("source_extraction.core.processes", "source_extraction.readers.tiff"):
        monkeypatch.setattr(f"{module}.can_fork", lambda: False)
    limit = resource.getrlimit(resource.RLIMIT_AS)
    image = read(written(tmp_path / "a.tif", SKY, compression="lzw", rowsperstrip=9))
    assert np.array_equal(image.pixels, SKY)
    assert resource.getrlimit(resource.RLIMIT_AS) == limit
    (tmp_path / "b.tif").write_bytes(HOSTILE["100,000 SubIFDs"])
    with pytest.raises(InputError, match="damaged or truncated"):
        read(tmp_path / "b.tif")
