"""In a Galaxy history a dataset shows the first 255 characters of what its job said: they must be worth it."""

import subprocess
from pathlib import Path

import pytest

from tests.galaxy.forms import expanded

LOG = """Image: image/galaxy.fits, HDU 0 (PRIMARY), 360 x 360 pixels, float32 (0.05 s)
Warning: the header has no gain
Sources: 187 (0.03 s)
Advice: the mesh is too small; run again with --bw 360 --bh 360
Advice: a "quoted" 'second' $one % \\n; run again with --saturation 254
"""
FOLLOWED = """Following the advice, once more with --bw 360 --bh 360
Sources: 136 (0.03 s)
Warning: what is left
Done in 1 s.
"""
MANY = "".join(f"{n}: 5 sources (0.1 s)\nWarning: {n}: dark\n" for n in range(5)) + "Images: 5, of which 0 failed\n"
FIRST = {
    "one run": (
        LOG,
        ["Sources: 187 (0.03 s)", *LOG.splitlines()[3:], "Warning: the header has no gain"],
    ),
    "followed": (LOG + FOLLOWED, ["Sources: 136 (0.03 s)", *FOLLOWED.splitlines()[::2]]),
    "many": (MANY, ["Images: 5, of which 0 failed", *(f"Warning: {n}: dark" for n in range(3))]),
    "a failure": ("Image: no.fits\n", []),
}


@pytest.mark.parametrize("tool", ["source_extractor.xml", "source_extractor_many.xml"])
@pytest.mark.parametrize("name", FIRST)
def test_what_is_most_important(tmp_path: Path, name: str, tool: str) -> None:
    """Sources, advice and warnings of the run that counts, then the whole log, then the run's own exit code."""
    log, first = FIRST[name]
    command = expanded(tool).find("command").text
    start = command.index("> log;")
    end = command.index("(exit \\$code)") + len("(exit \\$code)")
    # As Galaxy gives it to the shell: one line, without Cheetah's escapes.
    shell = " ".join(command[start:end].replace("\\$", "$").split("\n"))
    (tmp_path / "given").write_text(log)
    run = subprocess.run(
        ["sh", "-c", f"said() {{ cat given; return 3; }}; said {shell}"],
        cwd=tmp_path, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert (run.returncode, run.stderr) == (3, "")
    assert run.stdout == "".join(f"{line}\n" for line in first) + ("\n" if first else "") + log
