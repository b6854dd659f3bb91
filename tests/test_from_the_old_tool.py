"""What docs/from-the-old-tool.md says of the tool of version 0.0.1 holds of this one.

Its parameters, outputs and columns are those of tools/source-extractor/source_extractor_astro_tool.xml and
source_extraction.py in github.com/esg-epfl-apc/tools-astro.
"""

import re
from xml.etree import ElementTree

import numpy as np
import sep

from source_extraction import extract
from source_extraction.run.products import DEFAULT_PRODUCTS
from source_extraction.settings import OPTIONS
from tests.advised_skies import crowded
from tests.conftest import REPOSITORY, TEST_DATA
from tests.test_workflow_files import FORM, OUTPUTS

PAGE = (REPOSITORY / "docs" / "from-the-old-tool.md").read_text()
# With their defaults.
PARAMETERS = {
    "input_file": None,
    "mask_file": None,
    "thresh": 1.5,
    "err_option": "float_globalrms",
    "maskthresh": 0.0,
    "minarea": 5,
    "filter_case": "default",
    "filter_file": None,
    "filter_type": "matched",
    "deblend_nthresh": 32,
    "deblend_cont": 0.005,
    "clean": True,
    "clean_param": 1.0,
    "bw": 64,
    "bh": 64,
    "fw": 3,
    "fh": 3,
    "fthresh": 0.0,
}
OLD_OUTPUTS = {
    f"out_source_extraction_{name}"
    for name in (
        "bkg_picture",
        "rms_picture",
        "data_picture",
        "sources_picture",
        "segmentation_map_picture",
        "segmentation_map",
        "bkg_array",
        "rms_array",
        "catalog_table",
    )
}


def section(title: str) -> str:
    """The text under a heading."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of the table under a heading, without its head."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def names(cell: str) -> list[str]:
    return [name.replace("\\|", "|") for name in re.findall(r"`([^`]+)`", cell)]


def parameters(inputs: ElementTree.Element, place: str = "") -> dict[str, str]:
    """The labels of the form's parameters, by the names that scripts use."""
    found = {}
    for element in inputs:
        if element.tag == "param":
            found[place + (element.get("name") or element.get("argument", "").removeprefix("--"))] = element.get(
                "label"
            )
        elif element.tag in ("section", "conditional"):
            found |= parameters(element, f"{place}{element.get('name')}|")
        elif element.tag == "when":
            found |= parameters(element, place)
    return found


def test_every_parameter_has_its_place() -> None:
    """Under the same name but for the image, with the same default, under the label of the form."""
    labels = parameters(FORM.find("inputs"))
    table = [(*names(old), label.strip("*"), *names(now)) for old, label, now, _ in rows("Parameters")]
    assert sorted(old for old, _, _ in table) == sorted(PARAMETERS)
    for old, label, now in table:
        assert now.split("|")[-1] == {"input_file": "image"}.get(old, old)
        assert labels[now] == label
        if PARAMETERS[old] is not None and old != "maskthresh":
            assert OPTIONS[old].default == PARAMETERS[old]


def test_every_output_has_its_successor() -> None:
    """They are the products that are made unless others are chosen."""
    table = rows("Outputs")
    assert {names(old)[0] for old, _, _ in table} == OLD_OUTPUTS
    assert {names(file)[0] for _, _, file in table} == set(DEFAULT_PRODUCTS)
    for _, now, file in table:
        assert OUTPUTS[names(now)[0]] == names(file)[0]
        for output, other_file in [names(file)[1:]] if len(names(file)) > 1 else []:
            assert OUTPUTS[output] == other_file


def old(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sources and segmentation map by the calls of SEP that the old tool made with its defaults, in float64."""
    pixels = pixels.astype(float)
    background = sep.Background(pixels, maskthresh=0.0, bw=64, bh=64, fw=3, fh=3, fthresh=0.0)
    return sep.extract(
        pixels - background,
        1.5,
        err=background.globalrms,
        minarea=5,
        filter_kernel=np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]),
        filter_type="matched",
        deblend_nthresh=32,
        deblend_cont=0.005,
        clean=True,
        clean_param=1.0,
        segmentation_map=True,
    )


def test_the_same_sources_and_numbers(sky: np.ndarray) -> None:
    sources, labels = old(sky)
    result = extract(TEST_DATA / "sky.fits")
    table = result.to_pandas()
    assert names(section("Columns").split("\n\n")[1]) == list(sources.dtype.names)
    np.testing.assert_array_equal(result.segmentation, labels)
    for name in sources.dtype.names:
        np.testing.assert_allclose(table[name], sources[name], rtol=1e-6, err_msg=name)


def test_pixels_of_blends_depended_on_the_unit() -> None:
    """The old tool dealt some of them to another neighbour where the same image had smaller numbers."""
    pixels = crowded().pixels
    sources, labels = old(pixels)
    in_thousands, other_labels = old(pixels / 1000)
    assert len(in_thousands) == len(sources)
    assert 0 < (other_labels != labels).sum() < 0.01 * labels.size
    for unit in (1, 1000):
        np.testing.assert_array_equal(extract((pixels / unit).astype(np.float32)).segmentation, labels)


def test_new_columns_are_there() -> None:
    columns = extract(TEST_DATA / "sky.fits", psf=True, zeropoint=25).to_pandas().columns
    wanted = [name for _, column in rows("Columns") for name in names(column)]
    assert len(wanted) > 5
    assert set(wanted) <= set(columns)
