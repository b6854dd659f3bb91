"""Nothing half-written, nothing lost: products are whole or there is an error, and what was there before stays."""

import errno
import io
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import source_extraction as se
from source_extraction.run.products import PRODUCTS
from source_extraction.writers import moves, staging
from source_extraction.writers.staging import staged, writing_to
from source_extraction.writers.whole import write_blocks
from tests import kill
from tests.conftest import REPOSITORY, SCRIPT, TEST_DATA, run_tool

SKY = TEST_DATA / "sky.fits"
REFUSED = "the products cannot be written (File too large)"

# In a process of its own: every product under limits that it does not keep, after it was made once without.
UNDER_LIMITS = """
import json, resource, sys
from pathlib import Path
import source_extraction as se
from source_extraction.run.products import PRODUCTS

result, folder, answers = se.extract(sys.argv[1]), Path(sys.argv[2]), {}
whole = {path.name: path.stat().st_size for path in result.write(folder / "whole", list(PRODUCTS))}
for name, size in whole.items():
    for limit in (size - 1, size // 2, 0):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            result.write(folder / "limited", [name])
            answer = "no error"
        except se.InputError as problem:
            answer = problem.problem
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        answers[f"{name} of at most {limit} bytes"] = [answer, (folder / "limited").exists()]
print(json.dumps(answers))
"""
# The same on disks that are a page too small, and on disks that are not.
ON_SMALL_DISKS = """
import json, math, subprocess, sys
from pathlib import Path
import source_extraction as se
from source_extraction.run.products import PRODUCTS

result, folder, answers = se.extract(sys.argv[1]), Path(sys.argv[2]), {}
whole = {path.name: path.stat().st_size for path in result.write(folder / "whole", list(PRODUCTS))}
disk = folder / "disk"
disk.mkdir()
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", disk], check=True)
for name, size in whole.items():
    pages = math.ceil(size / 4096)
    for number in filter(None, (pages - 1, pages + 4)):
        subprocess.run(["mount", "-o", f"remount,size={number * 4096}", disk], check=True)
        try:
            result.write(disk / "out", [name])
            written = (disk / "out" / name).stat().st_size
            # The seconds in summary.json have more digits or fewer.
            answer = "whole" if written == size or name == "summary.json" else "cut"
            (disk / "out" / name).unlink()
            (disk / "out").rmdir()
        except se.InputError as problem:
            answer = problem.problem
        answers[f"{name} on {number} of {pages} pages"] = [number > pages, answer, (disk / "out").exists()]
print(json.dumps(answers))
"""


def answers_of(program: str, *arguments: object, before: tuple[str, ...] = ()) -> dict[str, list]:
    command = [*before, sys.executable, "-c", program, *map(str, arguments)]
    run = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stderr) == (0, "")
    return json.loads(run.stdout)


def test_no_product_is_cut_in_silence(tmp_path: Path) -> None:
    """A limit on the size of files stops writing where a full disk does; it is said, and nothing is left."""
    answers = answers_of(UNDER_LIMITS, SKY, tmp_path)
    assert len(answers) == len(PRODUCTS) * 3
    assert {case: answer for case, answer in answers.items() if answer != [REFUSED, False]} == {}


class FullDisk(io.BytesIO):
    """Has room for two blocks."""

    def write(self, block: bytes) -> int:
        if self.tell() >= 2 * len(block):
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(block)


@pytest.mark.parametrize("alongside", [False, True])
def test_blocks_are_written_in_order_or_there_is_an_error(alongside: bool) -> None:
    """Also if a thread writes them; after an error, no more than the block in hand is made."""
    file = io.BytesIO()
    write_blocks(file, (bytes([number]) * 1000 for number in range(200)), alongside=alongside)
    assert file.getvalue() == b"".join(bytes([number]) * 1000 for number in range(200))
    made: list[int] = []

    def blocks() -> Iterator[bytes]:
        for number in range(200):
            made.append(number)
            yield bytes([number]) * 1000

    with pytest.raises(OSError, match="No space left"):
        write_blocks(FullDisk(), blocks(), alongside=alongside)
    assert len(made) == (4 if alongside else 3)
    write_blocks(file, (), alongside=alongside)


def can_mount() -> bool:
    """Whether this user may mount a file system that only its own processes see."""
    if shutil.which("unshare") is None:
        return False
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs none /mnt"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="only root may mount a small file system")
def test_no_product_is_cut_on_a_full_disk(tmp_path: Path) -> None:
    answers = answers_of(ON_SMALL_DISKS, SKY, tmp_path, before=("unshare", "--mount"))
    # What takes no more than one page is never on a disk that is too small for it.
    on_too_few = {case.split(" ")[0] for case, (room, *_) in answers.items() if not room}
    assert on_too_few >= {*PRODUCTS} - {"summary.json", "completeness.tsv"}
    full = [False, "the products cannot be written (No space left on device)", False]
    assert {case: a for case, a in answers.items() if a not in ([True, "whole", False], full)} == {}


@pytest.mark.parametrize("product", ["background.fits", "segmentation_map.tiff", "seeds.tiff", "catalog.tsv"])
def test_the_command_line_says_it(tmp_path: Path, product: str) -> None:
    command = [sys.executable, SCRIPT, SKY, "--output_dir", tmp_path / "out", "--outputs", product]
    size = 80_000
    run = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size)),
    )
    assert run.returncode == 1
    assert run.stderr == f"error: {tmp_path / 'out'}: {REFUSED}; choose another --output_dir or make room\n"
    assert os.listdir(tmp_path) == []


# ---- What is read is not overwritten


INPUTS = {
    "image": ("background.fits", SKY, []),
    "mask": ("bright_mask.fits", TEST_DATA / "mask.fits", [SKY, "--mask_file"]),
    "noise map": ("background_rms.fits", SKY, [SKY, "--err_option", "file", "--error_file"]),
    "image to measure on": ("background_subtracted.fits", SKY, [SKY, "--measure_file"]),
    "kernel": ("points.tsv", TEST_DATA / "kernel.txt", [SKY, "--filter_case", "file", "--filter_file"]),
}


@pytest.mark.parametrize("link", ["", "hard", "symbolic", "symbolic product"])
@pytest.mark.parametrize("role", INPUTS)
def test_an_input_is_not_overwritten(tmp_path: Path, role: str, link: str) -> None:
    product, original, arguments = INPUTS[role]
    (tmp_path / "out").mkdir()
    given = place = tmp_path / "out" / product
    if link:
        given = tmp_path / "given"
    if link == "symbolic product":
        shutil.copy(original, given)
        place.symlink_to(given)
    else:
        shutil.copy(original, place)
        if link:
            (given.hardlink_to if link == "hard" else given.symlink_to)(place)
    run = run_tool(*arguments, given, "--outputs", f"catalog.tsv,{product}", folder=tmp_path / "out")
    assert (run.returncode, run.stdout) == (1, "")
    sentence = f"error: {given}: the product {place} would overwrite it; choose another --output_dir, or leave it out\n"
    assert run.stderr == sentence
    assert given.read_bytes() == original.read_bytes()
    assert os.listdir(tmp_path / "out") == [product]


def test_an_input_is_not_overwritten_by_names_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As one types it, in the folder of the image; what the product would not replace may lie there."""
    shutil.copy(SKY, tmp_path / "background.fits")
    monkeypatch.chdir(tmp_path)
    run = run_tool("background.fits", "--outputs", "background.fits", folder=Path("."))
    assert run.stderr.startswith("error: background.fits: the product background.fits would overwrite it; ")
    run = run_tool("background.fits", "--outputs", "points.tsv", folder=Path("."))
    assert (run.returncode, run.stderr) == (0, "")
    assert (tmp_path / "background.fits").read_bytes() == SKY.read_bytes()


@pytest.fixture(scope="module")
def result() -> se.Result:
    return se.extract(SKY)


def test_a_result_does_not_overwrite_its_image(tmp_path: Path) -> None:
    image = tmp_path / "background.fits"
    shutil.copy(SKY, image)
    with pytest.raises(se.InputError, match=f"^{image}: the product {image} would overwrite it; "):
        se.extract(image).write(tmp_path, "catalog.tsv,background.fits")
    assert image.read_bytes() == SKY.read_bytes()
    assert os.listdir(tmp_path) == ["background.fits"]


def test_joining_does_not_overwrite_a_catalog(tmp_path: Path) -> None:
    catalog = tmp_path / "joined_catalog.tsv"
    catalog.write_text("label\timage\n1\ta.fits\n")
    (tmp_path / "link.tsv").symlink_to(catalog)
    for given in (catalog, tmp_path / "link.tsv"):
        with pytest.raises(se.InputError, match=f"^{given}: the product {catalog} would overwrite it; "):
            se.join_catalogs([given], tmp_path)
    assert catalog.read_text() == "label\timage\n1\ta.fits\n"
    assert sorted(os.listdir(tmp_path)) == ["joined_catalog.tsv", "link.tsv"]


# ---- All products take their places, or none


NAMES = ["a", "b", "c", "d"]
EARLIER = {"a": "earlier", "c": "earlier", "other": "of somebody else"}
NEW = EARLIER | dict.fromkeys(NAMES, "new")


def put(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder


def files_in(folder: Path) -> dict[str, str]:
    """What is in a folder; hidden folders, too."""
    return {path.name: "folder" if path.is_dir() else path.read_text() for path in folder.iterdir()}


def write_new(folder: Path, text: str = "new") -> None:
    with staged(folder, NAMES, {}) as stage, writing_to(folder):
        put(stage, dict.fromkeys(NAMES, text))


def another_run(folder: Path) -> None:
    with staged(folder, [], {}):
        pass


@pytest.fixture(params=["links", "no links"])
def _links(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without a file system that has hard links."""

    def link(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if request.param == "no links":
        monkeypatch.setattr(moves.os, "link", link)


@pytest.mark.usefixtures("_links")
@pytest.mark.parametrize("fails", NAMES)
def test_what_was_replaced_is_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    put(tmp_path, EARLIER)
    before = {name: (tmp_path / name).stat() for name in EARLIER}
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / fails and ".old" not in str(source):
            raise PermissionError(1, "Operation not permitted")
        replace(source, target)

    monkeypatch.setattr(moves.os, "replace", refuse)
    with pytest.raises(se.InputError, match=r"the products cannot be written \(Operation not permitted\)"):
        write_new(tmp_path)
    assert files_in(tmp_path) == EARLIER
    for name, status in before.items():
        assert (status.st_ino, status.st_mtime_ns) == (
            (tmp_path / name).stat().st_ino,
            (tmp_path / name).stat().st_mtime_ns,
        )


def test_what_cannot_be_put_back_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, EARLIER)
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / "c":
            monkeypatch.setattr(moves.os, "replace", fail)
            raise PermissionError(1, "Operation not permitted")
        replace(source, target)

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(moves.os, "replace", refuse)
    with pytest.raises(se.InputError, match=r"Input/output error; what was there before is in .*/\.old"):
        write_new(tmp_path)
    monkeypatch.setattr(moves.os, "replace", replace)
    another_run(tmp_path)
    assert files_in(tmp_path) == EARLIER


def test_earlier_products_stay_where_a_folder_is_in_the_way(tmp_path: Path, result: se.Result) -> None:
    put(tmp_path, dict.fromkeys(["catalog.tsv", "background.fits"], "earlier"))
    (tmp_path / "sources.png").mkdir()
    (tmp_path / "sources.png" / "mine").touch()
    with pytest.raises(se.InputError, match=r"\(Is a directory\)"):
        result.write(tmp_path)
    assert files_in(tmp_path) == {"catalog.tsv": "earlier", "background.fits": "earlier", "sources.png": "folder"}
    assert os.listdir(tmp_path / "sources.png") == ["mine"]


# In a process of its own, which makes others: each is killed before another of the changes that it makes to folders.
KILLED_AT = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.test_nothing_lost import EARLIER, another_run, files_in, put, write_new
from source_extraction.writers import moves

EVENTS = {"os.link", "os.rename", "os.remove", "os.rmdir", "os.mkdir"}
changes, last = 0, None

def count(event, arguments):
    global changes
    if event in EVENTS or (event == "open" and ".source-extractor" in str(arguments[0])):
        changes += 1
        if changes == last:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(count)
if sys.argv[3] == "no links":
    def link(*_, **__):
        raise PermissionError(1, "Operation not permitted")
    moves.os.link = link

def killed(task, folder, at):
    global changes, last
    child = os.fork()
    if not child:
        changes, last = 0, at
        task(folder)
        os._exit(0)
    return os.waitpid(child, 0)[1] == signal.SIGKILL

outcomes, at = [], 1
while True:
    folder = put(Path(sys.argv[2]) / str(at), EARLIER)
    was_killed = killed(write_new, folder, at)
    # The next run is killed as well, somewhere.
    killed(another_run, folder, 3 + at % 11)
    another_run(folder)
    outcomes.append(files_in(folder))
    if not was_killed:
        break
    at += 1
print(json.dumps(outcomes))
"""


@pytest.mark.parametrize("links", ["links", "no links"])
def test_killed_at_any_point_leaves_all_new_or_all_old(tmp_path: Path, links: str) -> None:
    command = [sys.executable, "-c", KILLED_AT, REPOSITORY, tmp_path, links]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert (run.returncode, run.stderr) == (0, "")
    outcomes = json.loads(run.stdout)
    assert len(outcomes) > 20
    assert outcomes[0] == EARLIER
    assert outcomes[-1] == NEW
    assert [outcome for outcome in outcomes if outcome not in (EARLIER, NEW)] == []


def test_files_of_others_are_not_taken_back(tmp_path: Path) -> None:
    """What was put in place of a product after the run was killed is nobody's to remove."""
    write_new(put(tmp_path, EARLIER))
    left = tmp_path / f".source-extractor-leftover-{staging.this_machine()}"
    put(left / ".old", {"a": "earlier", "c": "earlier"})
    (left / ".lock").touch()
    manifest = {name: moves._identity(tmp_path / name) for name in NAMES}
    (left / ".moves").write_text(json.dumps(manifest | {"../escaped": None}))
    put(tmp_path, {"a": "by hand", "b": "by hand"})
    another_run(tmp_path)
    assert files_in(tmp_path) == {"a": "by hand", "b": "by hand", "c": "earlier", "other": "of somebody else"}


SIGNAL_WHILE_MOVING = """
import os, signal, sys
from source_extraction.writers import moves

replace, moved = os.replace, []

def slow(source, target):
    replace(source, target)
    moved.append(target)
    if len(moved) == 4:
        os.kill(os.getpid(), signal.SIGTERM)

moves.os.replace = slow
from source_extraction.faces.source_extractor import program
program()
"""


def test_a_signal_between_the_renames_waits(tmp_path: Path, products: Path) -> None:
    put(tmp_path, dict.fromkeys(["catalog.tsv", "background.fits"], "earlier"))
    command = [sys.executable, "-c", SIGNAL_WHILE_MOVING, SKY, "--output_dir", tmp_path]
    run = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=100)
    assert (run.returncode, run.stderr) == (128 + signal.SIGTERM, "")
    assert sorted(os.listdir(tmp_path)) == sorted(os.listdir(products))
    for path in products.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


# ---- Hidden folders


ENDING = ["SIGHUP", "SIGQUIT", "SIGTERM", "SIGXCPU", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF"]


def start(folder: Path, *arguments: object, ignore: signal.Signals | None = None) -> subprocess.Popen:
    """The tool at work, its hidden folder being there."""

    def prepare() -> None:
        for name in ENDING:
            signal.signal(signal.Signals[name], signal.SIG_DFL)
        if ignore is not None:
            signal.signal(ignore, signal.SIG_IGN)

    run = subprocess.Popen(
        [sys.executable, SCRIPT, SKY, "--output_dir", folder, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,  # noqa: PLW1509  (no thread runs here)
    )
    while not list(folder.glob(".source-extractor-*/.lock")):
        assert run.poll() is None
        time.sleep(0.001)
    return run


@pytest.mark.parametrize("name", ENDING)
def test_a_signal_leaves_nothing(tmp_path: Path, name: str) -> None:
    run = start(tmp_path / "out")
    run.send_signal(signal.Signals[name])
    _, wrong = run.communicate(timeout=60)
    assert (run.returncode, wrong) == (128 + signal.Signals[name], "")
    assert os.listdir(tmp_path) == []


SIGNAL_WHILE_FORKING = """
import os, signal, sys

forks, name = [], sys.argv.pop()

def interrupt():
    forks.append(1)
    if len(forks) == 2:
        os.kill(os.getpid(), signal.Signals[name])

# What ran the tests may ignore it, as shells do for what they run in the background.
signal.signal(signal.Signals[name], signal.default_int_handler if name == "SIGINT" else signal.SIG_DFL)
os.register_at_fork(after_in_parent=interrupt)
from source_extraction.faces.source_extractor import program
program()
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGALRM"])
def test_a_signal_while_forking_is_not_lost(tmp_path: Path, name: str) -> None:
    """Python ignores exceptions there, and printed this one while the run went on."""
    program = [
        sys.executable,
        "-c",
        SIGNAL_WHILE_FORKING,
        SKY,
        "--threads",
        "2",
        "--output_dir",
        tmp_path / "out",
        name,
    ]
    run = subprocess.run(program, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=100)
    assert (run.returncode, run.stderr) == (128 + signal.Signals[name], "")
    assert os.listdir(tmp_path) == []


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    """nohup."""
    run = start(tmp_path / "out", "--outputs", "points.tsv", ignore=signal.SIGHUP)
    run.send_signal(signal.SIGHUP)
    _, wrong = run.communicate(timeout=60)
    assert (run.returncode, wrong) == (0, "")
    assert os.listdir(tmp_path / "out") == ["points.tsv"]


def test_the_next_run_clears_away_what_a_killed_one_left(tmp_path: Path) -> None:
    run = start(tmp_path)
    run.kill()
    run.communicate(timeout=60)
    assert len(files_in(tmp_path)) == 1
    another = run_tool(SKY, "--outputs", "points.tsv", folder=tmp_path)
    assert (another.returncode, another.stderr) == (0, "")
    assert os.listdir(tmp_path) == ["points.tsv"]


def test_a_run_at_work_keeps_its_folder(tmp_path: Path) -> None:
    # A picture takes long enough to be stopped before it is there.
    run = start(tmp_path, "--outputs", "sources.png")
    time.sleep(0.1)  # the folder was not locked yet, maybe
    run.send_signal(signal.SIGSTOP)
    another = run_tool(SKY, "--outputs", "catalog.tsv", folder=tmp_path)
    assert (another.returncode, another.stderr) == (0, "")
    assert len(list(tmp_path.glob(".source-extractor-*/.lock"))) == 1
    run.send_signal(signal.SIGCONT)
    _, wrong = run.communicate(timeout=60)
    assert (run.returncode, wrong) == (0, "")
    assert sorted(os.listdir(tmp_path)) == ["catalog.tsv", "sources.png"]


LEAVE_A_CHILD = """
import os, signal, sys, time
from pathlib import Path
from source_extraction.writers.staging import staged

with staged(Path(sys.argv[1]), [], {}):
    child = os.fork()
    if not child:
        os.closerange(0, 3)
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_of_a_killed_run_keeps_its_folder(tmp_path: Path) -> None:
    """Where the system does not end processes with their parents."""
    command = [sys.executable, "-c", LEAVE_A_CHILD, tmp_path]
    child = int(subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True).stdout)
    another_run(tmp_path)
    assert len(os.listdir(tmp_path)) == 1
    os.kill(child, signal.SIGKILL)
    until = time.monotonic() + 10
    while os.listdir(tmp_path) and time.monotonic() < until:
        another_run(tmp_path)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "lock", "days", "stays"),
    [
        ("without a lock", False, 0, True),
        ("without a lock", False, 1000, True),
        ("of this machine", True, 0, False),
        ("of another machine", True, 0, True),
        ("of another machine", True, 8, False),
        ("of another kind", True, 1000, True),
    ],
)
def test_folders_that_may_be_somebody_s_are_left_alone(
    tmp_path: Path, name: str, lock: bool, days: int, stays: bool
) -> None:
    suffix = {"of this machine": f"-{staging.this_machine()}", "of another machine": "-0123abcd"}.get(name, "")
    folder = put(tmp_path / f".source-extractor-abc_def0{suffix}{'.bak' if 'kind' in name else ''}", {"a": "half"})
    if lock:
        (folder / ".lock").touch()
    os.utime(folder, times=(time.time() - days * 24 * 3600,) * 2)
    another_run(tmp_path)
    assert folder.exists() == stays


def test_where_nothing_can_be_locked_nothing_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, and some network file systems."""

    def no_locks(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("source_extraction.writers.locks._lock", no_locks)
    put(tmp_path, EARLIER)
    with staged(tmp_path, NAMES, {}) as stage:
        assert staging.LOCKED.fullmatch(stage.name) is None
        assert os.listdir(stage) == []
        another_run(tmp_path)
        put(stage, dict.fromkeys(NAMES, "new"))
    assert files_in(tmp_path) == NEW


def test_the_folder_goes_while_another_run_is_about_to_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run that made it has failed, and removes it: it is made again."""
    make, calls = tempfile.mkdtemp, []

    def late(*arguments: object, **options: object) -> str:
        if not calls:
            (tmp_path / "a" / "b").rmdir()
            (tmp_path / "a").rmdir()
        calls.append(options)
        return make(*arguments, **options)

    monkeypatch.setattr(staging.tempfile, "mkdtemp", late)
    write_new(tmp_path / "a" / "b")
    assert files_in(tmp_path / "a" / "b") == dict.fromkeys(NAMES, "new")
    assert len(calls) == 2


# Many processes, some of which fail, in one folder that the first of them makes.
AT_ONCE = """
import os, random, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.test_nothing_lost import write_new
from source_extraction.writers.staging import staged

def fail(folder):
    try:
        with staged(folder, [], {}):
            time.sleep(random.random() / 300)
            raise ValueError
    except ValueError:
        pass

for round_ in range(15):
    folder, children = Path(sys.argv[2]) / str(round_) / "out", []
    for number in range(20):
        children.append(os.fork())
        if not children[-1]:
            random.seed(number)
            time.sleep(random.random() / 100)
            write_new(folder, str(number)) if number % 2 else fail(folder)
            os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0] * 20
"""


def test_twenty_runs_at_once(tmp_path: Path) -> None:
    """Each succeeds or fails as it would alone, and the products that stay are of one run."""
    command = [sys.executable, "-c", AT_ONCE, REPOSITORY, tmp_path]
    run = subprocess.run(command, check=False, capture_output=True, text=True, timeout=100)
    assert (run.returncode, run.stderr) == (0, "")
    folders = list(tmp_path.glob("*/out"))
    assert len(folders) == 15
    for folder in folders:
        files = files_in(folder)
        assert sorted(files) == NAMES
        assert len(set(files.values())) == 1


def test_a_few_runs_of_the_tool_at_once(tmp_path: Path) -> None:
    def started(image: Path) -> subprocess.Popen:
        command = [sys.executable, SCRIPT, image, "--output_dir", tmp_path / "a" / "b", "--outputs", "points.tsv"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

    images = [SKY, TEST_DATA / "kernel.txt"] * 3
    runs = [started(image) for image in images]
    for image, run in zip(images, runs, strict=True):
        _, wrong = run.communicate(timeout=100)
        assert (run.returncode, wrong) == (0, "") if image == SKY else (run.returncode, wrong[:6]) == (1, "error:")
    assert os.listdir(tmp_path / "a" / "b") == ["points.tsv"]


@pytest.mark.parametrize("victim", kill.VICTIMS)
def test_killed_at_random_times(tmp_path: Path, victim: str) -> None:
    """In short; `python -m tests.kill` takes hundreds."""
    assert kill.kill_some(victim, 5, tmp_path).faults == []
