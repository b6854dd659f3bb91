"""The Voronoi workflow as far as it goes without the Tool Shed: scikit-image does what its imaging tools do.

Each of these tools is a few calls of scikit-image and scipy on the file that it is given. The same calls stand here for
them, are made in the order of the workflow on the files that source-extractor made, and what comes out passes the
workflow's own test. What they say of areas, boxes, light and distances is held against the catalog.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage
import yaml
from astropy.io import fits
from matplotlib.colors import to_rgb
from scipy import ndimage
from scipy.spatial import cKDTree

from source_extraction.run.products import PRODUCTS
from tests.conftest import REPOSITORY, TEST_DATA, read_catalog, succeed
from tests.test_workflow_files import OUTPUTS

WORKFLOW = REPOSITORY / "workflows" / "voronoi.gxwf.yml"


def label_seeds(folder: Path, inputs: dict, state: dict) -> Path:
    assert state["setup"]["method"] == "cca"
    labels, _ = ndimage.label(skimage.io.imread(inputs["setup|input"]) > 0)
    return saved(folder / "labels.tiff", labels.astype(np.uint16))


def divide(folder: Path, inputs: dict, state: dict) -> Path:
    labels = skimage.io.imread(inputs["input"])
    distances = ndimage.distance_transform_edt(labels == 0)
    return saved(folder / "cells.tiff", skimage.segmentation.watershed(distances, labels).astype(np.uint16))


def count(folder: Path, inputs: dict, state: dict) -> Path:
    regions = skimage.measure.regionprops(skimage.io.imread(inputs["input"]))
    path = folder / "count.tsv"
    path.write_text(f"objects\n{len(regions)}")
    return path


def measure(folder: Path, inputs: dict, state: dict) -> Path:
    labels = skimage.io.imread(inputs["labels"])
    table = skimage.measure.regionprops_table(labels, properties=state["setup"]["features"])
    path = folder / f"features_of_{inputs['labels'].stem}.tsv"
    pd.DataFrame(table).to_csv(path, sep="\t", index=False)
    return path


def colour(folder: Path, inputs: dict, state: dict) -> Path:
    labels = skimage.io.imread(inputs["input"])
    coloured = skimage.color.label2rgb(labels, bg_label=state["bg_label"], bg_color=to_rgb(state["bg_color"]))
    return saved(folder / "coloured.png", skimage.util.img_as_ubyte(coloured))


def overlay(folder: Path, inputs: dict, state: dict) -> Path:
    image, cells = (skimage.io.imread(inputs[f"method_option|{name}"]) for name in ("im1", "im2"))
    assert state["method_option"] | {"method": "seg_contour", "color": "#ffffff"} == state["method_option"]
    drawn = skimage.segmentation.mark_boundaries(image, cells, color=(1, 1, 1), mode="thick")
    return saved(folder / "overlay.png", skimage.util.img_as_ubyte(drawn))


# By the id of a tool; its output may have any name, since each has one.
TOOLS: dict[str, Callable[[Path, dict, dict], Path]] = {
    "ip_binary_to_labelimage": label_seeds,
    "voronoi_tessellation": divide,
    "ip_count_objects": count,
    "ip_2d_feature_extraction": measure,
    "colorize_labels": colour,
    "ip_overlay_images": overlay,
}


def saved(path: Path, pixels: np.ndarray) -> Path:
    skimage.io.imsave(path, pixels, check_contrast=False)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files that the workflow makes of the image of its test, by the names of the workflow's outputs."""
    folder = tmp_path_factory.mktemp("voronoi")
    workflow = yaml.safe_load(WORKFLOW.read_text())
    (test,) = yaml.safe_load(WORKFLOW.with_name("voronoi.gxwf-tests.yml").read_text())
    files = {"Image": WORKFLOW.parent / test["job"]["Image"]["path"]}
    for name, step in workflow["steps"].items():
        inputs = {place: files[source] for place, source in step["in"].items()}
        if step["tool_id"] == "source_extractor":
            # All of its other options are the defaults: see test_workflow_files.py.
            succeed(inputs["image"], "--outputs", ",".join(step["state"]["outputs"]), folder=folder)
            files |= {f"{name}/{output}": folder / file for output, file in OUTPUTS.items() if file in PRODUCTS}
            continue
        path = TOOLS[step["tool_id"].split("/")[-2]](folder, inputs, step.get("state", {}))
        files |= {f"{name}/{output}": path for output in ("output", "result", "out_png")}
    return {name: files[output["outputSource"]] for name, output in workflow["outputs"].items()}


def holds(path: Path, kind: str, wanted: dict) -> bool:
    """Whether a file is as one of planemo's assertions wants it."""
    if kind in ("has_line", "has_text", "has_n_lines"):
        text = path.read_text()
        lines = text.splitlines()
        return {
            "has_line": lines.__contains__,
            "has_text": text.__contains__,
            "has_n_lines": len(lines).__eq__,
        }[kind](*wanted.values())
    pixels = skimage.io.imread(path)
    if kind == "has_image_n_labels":
        labels = set(np.unique(pixels).tolist()) - set(wanted.get("exclude_labels", ()))
        return wanted["n"] == len(labels & set(wanted.get("labels", labels)))
    height, width, *channels = pixels.shape
    found = {"width": width, "height": height, "channels": channels[0] if channels else 1}
    return all(found[name] == value for name, value in wanted.items())


def test_the_test_of_the_workflow(made: dict[str, Path]) -> None:
    """Each of its outputs is as the workflow's own test wants it."""
    (test,) = yaml.safe_load(WORKFLOW.with_name("voronoi.gxwf-tests.yml").read_text())
    checked = 0
    for name, output in test["outputs"].items():
        for assertion in output["asserts"]:
            ((kind, wanted),) = assertion.items()
            assert holds(made[name], kind, wanted), (name, assertion)
            checked += 1
    assert checked > 20


def test_areas_boxes_and_light_are_those_of_the_catalog(made: dict[str, Path], sky: np.ndarray) -> None:
    """regionprops on the segmentation map and on the image without its background."""
    folder = made["Catalog"].parent
    succeed(TEST_DATA / "sky.fits", "--outputs", "background_subtracted.fits", folder=folder / "subtracted")
    light = fits.getdata(folder / "subtracted" / "background_subtracted.fits").astype(float)
    labels = skimage.io.imread(made["Segmentation map"])
    wanted = ("label", "area", "bbox", "intensity_mean", "intensity_max", "centroid_weighted")
    found = pd.DataFrame(skimage.measure.regionprops_table(labels, light, properties=wanted))
    catalog = read_catalog(folder)
    np.testing.assert_array_equal(found["label"], catalog["label"])
    np.testing.assert_array_equal(found["area"], catalog["npix"])
    boxes = found[["bbox-1", "bbox-3", "bbox-0", "bbox-2"]] - [0, 1, 0, 1]
    np.testing.assert_array_equal(boxes, catalog[["xmin", "xmax", "ymin", "ymax"]])
    np.testing.assert_allclose(found["intensity_max"], catalog["peak"], rtol=1e-6)
    np.testing.assert_allclose(found["area"] * found["intensity_mean"], catalog["flux_iso"], rtol=1e-5)
    # The catalog's are of the filtered image, and of deblended pixels before others are added.
    away = np.hypot(found["centroid_weighted-1"] - catalog["x"], found["centroid_weighted-0"] - catalog["y"])
    assert away.median() < 0.05
    assert away.max() < 1


def test_a_cell_is_what_is_nearer_to_its_source_than_to_any_other(made: dict[str, Path]) -> None:
    """The distances from pixels to the points of the table, by a tree; the cells come from the seeds."""
    cells = skimage.io.imread(made["Voronoi cells"])
    points = pd.read_csv(made["Points"], sep="\t")
    seeds = np.rint(points[["pos_y", "pos_x"]].to_numpy())
    cell_of = cells[tuple(seeds.astype(int).T)]
    assert sorted(cell_of) == list(range(1, len(points) + 1))
    pixels = np.argwhere(cells > 0)
    distance, nearest = cKDTree(seeds).query(pixels)
    own = seeds[np.argsort(cell_of)][cells.ravel() - 1]
    to_own = np.hypot(*(pixels - own).T)
    same = cells.ravel() == cell_of[nearest]
    # A watershed grows from pixel to pixel, so that some on a border fall to the wrong side.
    assert same.mean() > 0.98
    assert np.quantile(to_own - distance, 0.99) < 1
    assert (to_own - distance).max() < 5


def test_every_cell_has_one_source_and_the_border_runs_around_it(made: dict[str, Path]) -> None:
    """In the overlay the colours of the sources are where the catalog has them, and white is where two cells meet."""
    drawn = skimage.io.imread(made["Cells over sources"])
    cells, labels = (skimage.io.imread(made[name]) for name in ("Voronoi cells", "Segmentation map"))
    border = skimage.segmentation.find_boundaries(cells, mode="thick")
    np.testing.assert_array_equal((drawn == 255).all(axis=-1), border)
    catalog = read_catalog(made["Catalog"].parent)
    inside = ~border[catalog["ypeak"], catalog["xpeak"]]
    assert inside.mean() > 0.95
    assert drawn[catalog["ypeak"], catalog["xpeak"]][inside].any(axis=1).all()
    np.testing.assert_array_equal(drawn[(labels == 0) & ~border], 0)


def test_the_image_under_the_labels(tmp_path: Path, sky: np.ndarray) -> None:
    """Blended with the image in greys, as overlay_images does, a source's bright pixels lie under its label."""
    succeed(TEST_DATA / "sky.fits", "--outputs", "catalog.tsv,image.tiff,segmentation_map.tiff", folder=tmp_path)
    grey, labels = (skimage.io.imread(tmp_path / f"{name}.tiff") for name in ("image", "segmentation_map"))
    assert grey.shape == labels.shape == sky.shape
    assert grey.dtype == np.uint8
    around = np.where(labels == 0, skimage.segmentation.expand_labels(labels, 5), 0)
    sources, rings = (ndimage.mean(grey, areas, range(1, int(labels.max()) + 1)) for areas in (labels, around))
    assert (sources > rings).all()
    # In the order of the image's own pixels, neither flipped nor turned.
    assert (np.diff(grey.ravel()[np.argsort(sky, axis=None)].astype(int)) >= 0).all()


def test_objects_sorted_by_features_keep_their_labels(made: dict[str, Path]) -> None:
    """Those of a table of features that are left out of the map leave the others as they were."""
    labels = skimage.io.imread(made["Segmentation map"])
    shapes = pd.read_csv(made["Shapes of the sources"], sep="\t")
    round_ones = shapes.loc[shapes["eccentricity"] < 0.6, "label"]
    left = np.where(np.isin(labels, round_ones), labels, 0)
    assert 0 < len(round_ones) < len(shapes)
    np.testing.assert_array_equal(np.unique(left), [0, *round_ones])
    catalog = read_catalog(made["Catalog"].parent).set_index("label")
    assert catalog.loc[round_ones, "elongation"].median() < catalog["elongation"].median()
