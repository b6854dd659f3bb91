"""Machines, accounts and terminals as they are: a result, or one line that says what failed and whose fault it is."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, SCRIPT, TEST_DATA

SKY = TEST_DATA / "sky.fits"
JOIN = REPOSITORY / "join_catalogs.py"
CATALOG = TEST_DATA / "catalogs" / "north.tsv"
QUICK = ("--outputs", "catalog.tsv", "--threads", "1")
MADE = "what was said is lost; the products are made"
EXTRACT = (sys.executable, SCRIPT, SKY, *QUICK)
JOINED = (sys.executable, JOIN, CATALOG)


def run(
    *command: object, folder: Path, redirected: str = "", **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """Run a program by a shell that redirects its streams; a variable that is None is not set."""
    words = [*map(str, command), "--output_dir", str(folder)]
    variables = {**os.environ, **environment}
    return subprocess.run(
        ["bash", "-c", f'"$@" {redirected}', "bash", *words],
        check=False,
        capture_output=True,
        text=True,
        env={name: value for name, value in variables.items() if value is not None},
        timeout=120,
    )


def in_python(prepared: str, *arguments: object, program: str = "source_extractor") -> subprocess.CompletedProcess[str]:
    """Run a program after lines of Python that change what it finds."""
    code = f"{prepared}\nfrom source_extraction.faces.{program} import program\nprogram()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )


def refused(done: subprocess.CompletedProcess[str], code: int = 1) -> str:
    """The one line of a run that was refused."""
    assert done.returncode == code, done.stderr
    assert re.fullmatch(r"error: [^\n]*\n", done.stderr), done.stderr
    return done.stderr.removeprefix("error: ").rstrip("\n")


STREAMS = {
    "closed": (">&-", f"Warning: standard output is gone (it is closed): {MADE}\n"),
    "full": (">/dev/full", f"Warning: standard output is gone (No space left on device): {MADE}\n"),
    "nobody reads": ("> >(exec true)", f"Warning: standard output is gone (Broken pipe): {MADE}\n"),
    "errors closed": ("2>&-", ""),
    "errors full": ("2>/dev/full", ""),
    "all closed": ("<&- >&- 2>&-", ""),
    "input closed": ("<&-", ""),
}


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("command", [EXTRACT, JOINED], ids=["extract", "join"])
def test_products_need_no_stream(tmp_path: Path, stream: str, command: tuple[object, ...]) -> None:
    """They are what was asked for; that nobody hears of them is said once, if somebody hears that."""
    redirected, said = STREAMS[stream]
    if stream == "nobody reads":
        redirected = "| true; exit ${PIPESTATUS[0]}"
    done = run(*command, folder=tmp_path, redirected=redirected)
    assert done.returncode == 0
    # A pipe may take all that is said before it is closed.
    assert done.stderr == said or (stream == "nobody reads" and not done.stderr)
    (product,) = tmp_path.iterdir()
    assert product.read_text().startswith("label\t")
    assert "Done in" not in product.read_text()


def test_maps_and_pictures_need_no_stream(tmp_path: Path, products: Path) -> None:
    """Nothing is printed into a product, which would have the number of what is closed."""
    names = ("background.fits", "image.png")
    command = (sys.executable, SCRIPT, SKY, "--outputs", ",".join(names), "--threads", "2")
    assert run(*command, folder=tmp_path, redirected="<&- >&- 2>&-").returncode == 0
    for name in names:
        assert (tmp_path / name).read_bytes() == (products / name).read_bytes()


def test_an_error_with_nobody_to_hear_it(tmp_path: Path) -> None:
    for redirected in ("2>&-", "2>/dev/full", ">&- 2>&-"):
        assert run(sys.executable, SCRIPT, tmp_path / "none", folder=tmp_path, redirected=redirected).returncode == 1


@pytest.mark.parametrize("asked", ["--help", "--version"])
def test_text_that_was_asked_for_is_lost(asked: str) -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" > /dev/full', "bash", sys.executable, SCRIPT, asked],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == ("Warning: standard output is gone (No space left on device): what was to be said is lost\n")


NOBODY = (
    'import pwd, os\ndef unknown(uid):\n    raise KeyError(uid)\npwd.getpwuid = unknown\nos.environ.pop("HOME", 0)\n'
)
NO_TEMPORARY = (
    "import os, tempfile\n"
    'os.environ["HOME"] = os.environ["TMPDIR"] = "/proc/nowhere"\n'
    'tempfile._candidate_tempdir_list = lambda: ["/proc/nowhere"]\n'
)


def test_an_account_without_a_home(tmp_path: Path) -> None:
    done = in_python(NOBODY, SKY, "--outputs", "catalog.tsv,background.fits,image.png", "--output_dir", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


# A namespace of users, in which the same person has a number that no table knows; the files stay readable.
SOMEBODY = ("unshare", "-U", "--map-user=12345")


def test_a_user_whom_the_system_does_not_know(tmp_path: Path) -> None:
    """The real thing: no entry in the table of users, and no HOME, as in containers that are run with --user."""
    if not shutil.which("unshare") or subprocess.run([*SOMEBODY, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs namespaces of users")
    command = (sys.executable, SCRIPT, SKY, "--outputs", "catalog.tsv,background.fits,image.png")
    done = run(*SOMEBODY, *command, folder=tmp_path, HOME=None)
    assert (done.returncode, done.stderr) == (0, "")


def test_no_temporary_folder(tmp_path: Path) -> None:
    """A catalog and maps need none; pictures do, and say so."""
    made = in_python(NO_TEMPORARY, SKY, "--outputs", "catalog.tsv", "--output_dir", tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    made = in_python(NO_TEMPORARY, SKY, "--outputs", "background.fits,bright_mask.fits", "--output_dir", tmp_path)
    assert (made.returncode, made.stderr) == (0, "")
    done = in_python(NO_TEMPORARY, SKY, "--outputs", "image.png", "--output_dir", tmp_path)
    assert refused(done) == (
        "there is no temporary folder, which pictures need; set TMPDIR to a folder that can be written"
    )


@pytest.mark.parametrize("switch", [("-P",), ("-I",), ("-I", "-S")], ids=" ".join)
@pytest.mark.parametrize("script", [SCRIPT, JOIN], ids=["extract", "join"])
def test_python_that_does_not_look_beside_the_program(tmp_path: Path, switch: tuple[str, ...], script: Path) -> None:
    command = [sys.executable, *switch, str(script), "--version"]
    assert subprocess.check_output(command, cwd=tmp_path, text=True).startswith("source-extraction ")


NAME = "a" * 300
FOLDERS = {
    "name too long": ("import os", NAME, f"{NAME}: "),
    "path too long": ("import os", "/".join(["b" * 200] * 30), "bbb"),
    "link to itself": ("import os\nos.path.islink('loop') or os.symlink('loop', 'loop')", "loop/x", "loop/x: "),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_folders_that_cannot_be(tmp_path: Path, case: str) -> None:
    prepared, folder, sentence = FOLDERS[case]
    prepared = f"import os\nos.chdir({str(tmp_path)!r})\n" + prepared
    prepared = f"import sys\nsys.path.insert(0, {str(REPOSITORY)!r})\n" + prepared
    for program, inputs in (("source_extractor", (SKY, *QUICK)), ("join", (CATALOG,))):
        done = in_python(prepared, *inputs, "--output_dir", folder, program=program)
        assert refused(done).startswith(sentence)


def test_a_folder_below_one_that_may_not_be_looked_into(tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    (locked / "inner").mkdir(parents=True)
    locked.chmod(0)
    # Root may look into everything, until it gives that up.
    unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.getuid() == 0 else []
    try:
        done = run(*unprivileged, *EXTRACT, folder=locked / "inner" / "out")
    finally:
        locked.chmod(0o700)
    sentence = refused(done)
    assert sentence.startswith(f"{locked / 'inner' / 'out'}: ")
    assert "(Permission denied)" in sentence


@pytest.mark.parametrize("program", ["source_extractor", "join"])
def test_a_nul_in_a_path(program: str) -> None:
    """A shell cannot give one; another program can."""
    arguments = [str(SKY if program == "source_extractor" else CATALOG), "--output_dir", "o\0"]
    prepared = f"import sys\nsys.argv[1:] = {arguments!r}"
    done = in_python(prepared, program=program)
    assert done.returncode in (1, 2)
    assert "NUL" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    arguments[0] = "a\0b"
    assert "Traceback" not in in_python(f"import sys\nsys.argv[1:] = {arguments[:1]!r}", program=program).stderr


OPEN_FILES = "too many files are open in this process; raise its limit (ulimit -n)"


@pytest.mark.parametrize("number", [4, 7, 10, 13])
def test_too_many_open_files(tmp_path: Path, number: int) -> None:
    limited = ("bash", "-c", f'ulimit -n {number}; exec "$@"', "bash")
    command = (sys.executable, SCRIPT, SKY, "--outputs", "catalog.tsv,background.fits,image.png", "--threads", "3")
    done = run(*limited, *command, folder=tmp_path / "out")
    if done.returncode:
        assert refused(done) == OPEN_FILES
        # What is hidden is nobody's product; to remove a folder takes open files, too.
        assert not list((tmp_path / "out").glob("[!.]*"))
    elif number < 10:
        pytest.fail("it needs no files?")


RAISED = {
    "no process": (f"OSError({errno.EAGAIN}, 'Resource temporarily unavailable')", "no process could be started; "),
    "no memory": (f"OSError({errno.ENOMEM}, 'Cannot allocate memory')", "memory ran out; "),
    "memory error": ("MemoryError('Unable to allocate 4.00 GiB')", "memory ran out; "),
    "library": ("ImportError('x.so: failed to map segment from shared object')", "memory ran out; "),
    "thread": ('RuntimeError("can\'t start new thread")', "no process could be started; "),
    "disk": ("OSError(5, 'Input/output error', '/somewhere/x')", "/somewhere/x: the system refuses it (Input/output"),
}


@pytest.mark.parametrize("case", RAISED)
def test_what_the_machine_refuses(tmp_path: Path, case: str) -> None:
    """Within the steps, and while products are made, where it is not the folder's fault."""
    raised, sentence = RAISED[case]
    fail = f"def fail(*_):\n    raise {raised}\nimport source_extraction.run.pipeline as p\n"
    for broken in ("take_steps", "make_products"):
        if (case, broken) == ("disk", "make_products"):
            continue
        done = in_python(fail + f"p.{broken} = fail", SKY, *QUICK, "--output_dir", tmp_path / "out")
        assert sentence in refused(done)
        assert "products cannot be written" not in done.stderr
        assert not (tmp_path / "out").exists()


BUG = 'import source_extraction.run.pipeline as p\np.take_steps = lambda *_: {}["ours\\x1b[31m"]\n'


def test_a_bug_of_ours_says_so(tmp_path: Path) -> None:
    done = in_python(BUG, SKY, "--output_dir", tmp_path / "out")
    sentence = refused(done, 70)
    assert sentence.startswith(
        "this is a fault of source-extraction and not of the input: KeyError: 'ours\\x1b[31m' (run"
    )
    assert "https://github.com/esg-epfl-apc/tools-astro/issues" in sentence
    assert not (tmp_path / "out").exists()
    debugged = in_python(BUG, SKY, "--output_dir", tmp_path / "out", "--debug")
    assert debugged.returncode == 70
    assert debugged.stderr.startswith("Traceback (most recent call last):\n")
    assert debugged.stderr.endswith(done.stderr)


def test_debug_changes_nothing_else(tmp_path: Path) -> None:
    for folder, switch in (("with", ("--debug",)), ("without", ())):
        command = (sys.executable, SCRIPT, SKY, "--outputs", "background.fits,catalog.fits", *switch)
        assert run(*command, folder=tmp_path / folder).stderr == ""
    for name in ("background.fits", "catalog.fits"):
        assert (tmp_path / "with" / name).read_bytes() == (tmp_path / "without" / name).read_bytes()
    done = run(sys.executable, SCRIPT, tmp_path / "none.fits", "--debug", folder=tmp_path / "out")
    assert done.stderr.startswith("Traceback")
    assert done.stderr.splitlines()[-1].startswith("error: ")
    import source_extraction as se

    with pytest.raises(TypeError, match="there is no option 'debug'"):
        se.extract(SKY, debug=True)


def test_a_backend_of_the_notebook(tmp_path: Path, products: Path) -> None:
    """In the environment of what is started from a notebook."""
    command = (sys.executable, SCRIPT, SKY, "--outputs", "image.png")
    for backend in ("module://matplotlib_inline.backend_inline", "nonsense"):
        done = run(*command, folder=tmp_path, MPLBACKEND=backend)
        assert (done.returncode, done.stderr) == (0, "")
        assert (tmp_path / "image.png").read_bytes() == (products / "image.png").read_bytes()
