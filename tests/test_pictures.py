"""The pictures, read back: which way up, what is marked, and how large images become small."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.visualization.wcsaxes.axislabels import AxisLabels
from astropy.visualization.wcsaxes.ticklabels import TickLabels
from astropy.wcs import WCS
from matplotlib.collections import EllipseCollection, LineCollection
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from source_extraction import extract
from source_extraction.core.image import Celestial, Image
from source_extraction.writers import diagnostics, pictures, thumbnails
from tests.conftest import succeed

RED = np.array([1, 0, 0])


def noise(shape: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(3).normal(100, 5, shape).astype(np.float32)


def inside(path: Path) -> np.ndarray:
    """The part of a picture within its axes (which have the margins of `writers.pictures`), rows from the top."""
    picture = imread(path)
    dots = {side: round(inches * pictures.DOTS_PER_INCH) for side, inches in pictures.MARGINS.items()}
    return picture[dots["top"] : -dots["bottom"], dots["left"] : -dots["right"]]


def mark(shape: tuple[int, int], x: float, y: float) -> np.ndarray:
    """An image with one bright source."""
    rows, columns = np.indices(shape)
    return noise(shape) + 5000 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 8).astype(np.float32)


@pytest.mark.parametrize(("suffix", "top"), [("fits", False), ("tiff", True)])
def test_which_way_up(tmp_path: Path, suffix: str, top: bool) -> None:
    """The source of row 30 is at the bottom of a FITS picture, at the top of a TIFF one; its ellipse is there."""
    image = mark((150, 200), x=40, y=30)
    path = tmp_path / f"image.{suffix}"
    fits.writeto(path, image) if suffix == "fits" else tifffile.imwrite(path, image)
    succeed(path, "--outputs", "image.png,sources.png,segmentation_map.png", "--thresh", "5", folder=tmp_path)

    down = 30.5 / 150 if top else 1 - 30.5 / 150
    bright = inside(tmp_path / "image.png")[..., 0] > 0.95
    labelled = inside(tmp_path / "segmentation_map.png").max(axis=2) > 0.3
    red = np.abs(inside(tmp_path / "sources.png") - RED).max(axis=2) < 0.2
    for marked in (bright, labelled, red):
        # A dozen dots along the frame belong to its line.
        rows, columns = np.nonzero(marked[12:-12, 12:-12])
        assert rows.size > 50
        assert abs((rows.mean() + 12) / marked.shape[0] - down) < 0.02
        assert abs((columns.mean() + 12) / marked.shape[1] - 40.5 / 200) < 0.02


def test_ellipse_is_three_sigma_and_turned(tmp_path: Path) -> None:
    rows, columns = np.indices((200, 200))
    turn, sigma = np.radians(30), (9, 3)
    along = (columns - 100) * np.cos(turn) + (rows - 100) * np.sin(turn)
    across = (rows - 100) * np.cos(turn) - (columns - 100) * np.sin(turn)
    image = noise((200, 200)) + 1e5 * np.exp(-(along**2) / 2 / sigma[0] ** 2 - across**2 / 2 / sigma[1] ** 2)
    fits.writeto(tmp_path / "image.fits", image.astype(np.float32))
    succeed(tmp_path / "image.fits", "--outputs", "sources.png", "--bw", "200", "--bh", "200", folder=tmp_path)
    red = np.abs(inside(tmp_path / "sources.png") - RED).max(axis=2) < 0.2
    red_rows, red_columns = np.nonzero(red)
    dots = red.shape[0] / 200
    x, y = red_columns / dots - 0.5 - 100, 199.5 - red_rows / dots - 100
    lengths = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    # Both diameters: 6 sigma, a little less for what lies below the threshold.
    assert 6 * 9 * 0.93 < np.ptp(lengths[0]) < 6 * 9 * 1.04
    assert 6 * 3 * 0.93 < np.ptp(lengths[1]) < 6 * 3 * 1.08


def test_touching_labels_have_different_colors() -> None:
    random = np.random.default_rng(1)
    labels = np.kron(random.permutation(np.arange(1, 901)).reshape(30, 30), np.ones((4, 4), dtype=np.int32))
    labels[random.uniform(size=labels.shape) < 0.05] = 0
    colors = pictures.color_labels(labels)
    np.testing.assert_array_equal(colors == 0, labels == 0)
    for one, other in ((slice(1, None), slice(None, -1)), (slice(None, -1), slice(1, None))):
        for first, second in ((np.s_[one, :], np.s_[other, :]), (np.s_[:, one], np.s_[:, other])):
            touch = (labels[first] != labels[second]) & (labels[first] > 0) & (labels[second] > 0)
            assert touch.sum() > 100
            assert (colors[first] != colors[second])[touch].all()


def test_averaging_and_downsampling_keep_what_matters() -> None:
    image = np.zeros((4000, 3100), dtype=np.float32)
    image[1000:1003, 2000:2003] = 9
    image[0, 0] = np.nan
    small = thumbnails.average(image)
    assert max(small.shape) <= thumbnails.LONGEST_SIDE_IN_PIXELS
    assert np.isfinite(small).all()
    assert small.sum() * 9 == pytest.approx(image[1:].sum())
    labels = np.zeros(image.shape, dtype=np.int32)
    labels[17, 2999] = 5
    downsampled = thumbnails.downsample_labels(labels)
    assert downsampled.shape == small.shape
    assert (downsampled == 5).sum() == 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (3000, 2), (40, 900), (4000, 3000)])
def test_any_shape(tmp_path: Path, shape: tuple[int, int]) -> None:
    fits.writeto(tmp_path / "image.fits", noise(shape))
    names = ["image", "background", "background_rms", "segmentation_map", "sources"]
    succeed(tmp_path / "image.fits", "--outputs", ",".join(f"{name}.png" for name in names), folder=tmp_path)
    for name in names:
        height, width, _ = imread(tmp_path / f"{name}.png").shape
        assert 500 <= width <= 2100
        assert 500 <= height <= 1900


def sky(
    shape: tuple[int, int], projection: str = "RA-TAN", scale: float = 0.4, turn: float = 0, **cards: float | str
) -> Image:
    """An image about its reference point: its pixels have `scale` arcsec, and are turned by degrees."""
    height, width = shape
    cos, sin, degrees = np.cos(np.radians(turn)), np.sin(np.radians(turn)), scale / 3600
    longitude, code = projection.split("-")
    header = fits.Header({
        "CTYPE1": f"{longitude:-<4}-{code}", "CTYPE2": f"{'GLAT' if longitude == 'GLON' else 'DEC-'}-{code}",
        "CRVAL1": 150.0, "CRVAL2": 20.0, "CRPIX1": (width + 1) / 2, "CRPIX2": (height + 1) / 2,
        "CD1_1": -degrees * cos, "CD1_2": degrees * sin, "CD2_1": degrees * sin, "CD2_2": degrees * cos,
    } | cards)  # fmt: skip
    return Image("sky", "", "float32", noise(shape), find_celestial=lambda: Celestial(WCS(header)))


RIGHT, DOWN, LONGITUDE, LATITUDE = "Right ascension", "Declination", "Galactic longitude", "Galactic latitude"
# What stands at the bottom, and whether both have their ticks at the sides: else the sides are off the sky.
SKIES = {
    "north up": (sky((400, 600)), RIGHT, True),
    "on its side": (sky((400, 600), turn=80), DOWN, True),
    "turned by less than half": (sky((400, 600), turn=40), RIGHT, True),
    "turned by more, and small (JWST)": (sky((90, 80), scale=0.03, turn=57), DOWN, True),
    "upside down": (sky((400, 600), turn=180), RIGHT, True),
    "declination first": (
        sky((400, 600), CTYPE1="DEC--TAN", CTYPE2="RA---TAN", CRVAL1=20.0, CRVAL2=150.0), DOWN, True,
    ),
    "at 0 h": (sky((400, 600), CRVAL1=0.01), RIGHT, True),
    "at the pole": (sky((400, 600), "RA-SIN", 10, turn=30, CRVAL2=90.0), RIGHT, True),
    "close to the pole": (sky((400, 600), "RA-SIN", 10, CRVAL2=88.0), RIGHT, True),
    # A radio map about the pole, cut out where the parallels run along y.
    "beside the pole": (sky((400, 600), "RA-SIN", 10, CRVAL2=90.0, CRPIX1=3000.0), DOWN, True),
    "above the pole": (sky((400, 600), "RA-SIN", 10, CRVAL2=90.0, CRPIX2=-3000.0), RIGHT, True),
    "far from its reference point": (sky((400, 600), "RA-CAR", 1, CRVAL2=0.0, CRPIX2=200 - 75 * 3600.0), RIGHT, True),
    "wide": (sky((400, 600), "RA-TAN", 600, CRVAL2=60.0), RIGHT, True),
    "all of the sky, rectangular": (sky((360, 720), "RA-CAR", 1800, CRVAL1=180.0, CRVAL2=0.0), RIGHT, True),
    "all of the sky": (sky((360, 720), "GLON-AIT", 1800, CRVAL1=0.0, CRVAL2=0.0), LONGITUDE, False),
    "all of the sky, pointed": (sky((360, 720), "GLON-SFL", 1800, CRVAL1=30.0, CRVAL2=0.0), LONGITUDE, False),
    # The left edge meets a hundredth of the sky (ROSAT's map from SkyView).
    "all of the sky, cut": (sky((240, 480), "GLON-AIT", 2700 * 0.9, CRVAL1=0.0, CRVAL2=0.0), LONGITUDE, False),
    "half of the sky": (sky((300, 300), "RA-SIN", 1800, CRVAL2=10.0), RIGHT, False),
    "microarcseconds": (sky((400, 600), "RA-SIN", 2e-6, turn=15, CRVAL1=187.7059), RIGHT, True),
    "thin": (sky((40, 1200), turn=20), RIGHT, True),
    "tall": (sky((1200, 40), turn=20), RIGHT, True),
    "a few pixels": (sky((4, 5)), RIGHT, True),
    "a pixel": (sky((1, 1), turn=20), RIGHT, True),
}  # fmt: skip


@pytest.mark.parametrize(("image", "at_bottom", "at_sides"), SKIES.values(), ids=SKIES)
def test_sky_coordinates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, image: Image, at_bottom: str, at_sides: bool
) -> None:
    """Both coordinates have two labels or more, stand where they change most, and nothing is cut off."""
    drawn: dict[Text, list[tuple[str, float, float]]] = {}
    draw = Text.draw

    def draw_and_note(text: Text, *arguments: object, **options: object) -> None:
        drawn.setdefault(text, []).append((text.get_text(), *text.get_position()))
        draw(text, *arguments, **options)

    monkeypatch.setattr(Text, "draw", draw_and_note)
    pictures.draw_image(tmp_path / "image.png", image.pixels, image, "sky")
    labels = {text: notes for text, notes in drawn.items() if isinstance(text, TickLabels)}
    names = [note for text, notes in drawn.items() if isinstance(text, AxisLabels) for note in notes]
    frame = next(text.axes for text in drawn if text.axes is not None).get_window_extent()

    assert len(labels) == len(names) == 2
    below = [name for name, x, y in names if y < frame.y0 and frame.x0 < x < frame.x1]
    beside = [name for name, x, y in names if x < frame.x0 and frame.y0 < y < frame.y1]
    assert below == [at_bottom]
    assert len(beside) == 1
    for notes in labels.values():
        assert len({written for written, _, _ in notes}) >= 2
        # Each coordinate all below, all beside, or all within the frame.
        inside = [frame.x0 <= x <= frame.x1 and frame.y0 <= y <= frame.y1 for _, x, y in notes]
        assert any(inside) == all(inside) != at_sides
    # Not a dot at the edges: else something reaches over them.
    picture = imread(tmp_path / "image.png")
    for edge in (picture[:, 0], picture[:, -1], picture[0], picture[-1]):
        assert (edge == 1).all()


def test_long_titles_of_narrow_images(tmp_path: Path) -> None:
    title = "a title that is as long as the names of some surveys' images are, to the last letter"
    pixels = noise((300, 20))
    pictures.draw_image(tmp_path / "image.png", pixels, Image("narrow", "", "float32", pixels), title)
    picture = imread(tmp_path / "image.png")
    assert (picture[:, [0, -1]] == 1).all()
    # And no more room than that takes.
    written = np.flatnonzero((picture < 1).any(axis=(0, 2)))
    assert written[0] < 15
    assert written[-1] > picture.shape[1] - 15


def ring_and_star() -> np.ndarray:
    """A ring, which no ellipse shows, and a star."""
    rows, columns = np.indices((150, 200))
    away = np.hypot(columns - 60, rows - 70)
    ring = np.where((away > 20) & (away < 24), 300, 0)
    return (mark((150, 200), 140, 40) + ring).astype(np.float32)


@pytest.mark.parametrize("draw", ["ellipses", "outlines"])
def test_what_is_no_ellipse_is_shown_by_its_outline(draw: str) -> None:
    """Its edges are those between its pixels and others, counted pixel by pixel; a star has an ellipse by default."""
    result = extract(ring_and_star(), draw=draw)
    assert len(result) == 2
    axes = Figure().add_subplot()
    result.plot(axes)
    (lines,) = [each for each in axes.collections if isinstance(each, LineCollection)]
    ellipses = [each for each in axes.collections if isinstance(each, EllipseCollection)]
    assert len(ellipses) == (draw == "ellipses")

    map_ = result.segmentation
    ring = int(map_[70, 82])
    shown = [ring] if draw == "ellipses" else [1, 2]
    expected = set()
    for y, x in np.argwhere(np.isin(map_, shown)).tolist():
        for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            if map_[y + dy, x + dx] != map_[y, x]:
                middle = (x + dx / 2, y + dy / 2)
                along = (abs(dy) / 2, abs(dx) / 2)
                ends = [(middle[0] + sign * along[0], middle[1] + sign * along[1]) for sign in (-1, 1)]
                expected.add(tuple(ends))
    drawn = {tuple(sorted((float(x), float(y)) for x, y in segment)) for segment in lines.get_segments()}
    assert drawn == expected


def test_nothing_is_drawn_where_nothing_was_found(tmp_path: Path) -> None:
    result = extract(noise((60, 70)))
    assert len(result) == 0
    axes = Figure().add_subplot()
    result.plot(axes)
    assert list(axes.collections) == []
    result.write(tmp_path, "diagnostics.png,sources.png")


@pytest.mark.parametrize("decades", [0.05, 0.3, 0.9, 1.4, 2.2, 3.5, 9])
@pytest.mark.parametrize("along_x", [True, False])
def test_no_label_of_a_logarithmic_axis_lies_over_another(decades: float, along_x: bool) -> None:
    figure = Figure((13, 8), dpi=120, layout="constrained")
    axes = figure.subplot_mosaic("AABBCC;DDDEEE")["A"]
    axis = axes.xaxis if along_x else axes.yaxis
    (axes.set_xscale if along_x else axes.set_yscale)("log")
    for lowest in (0.00021, 3.3, 47_000.0):
        (axes.set_xlim if along_x else axes.set_ylim)(lowest, lowest * 10**decades)
        diagnostics._label_decades(axis, along_x=along_x)
        figure.canvas.draw()
        within = sorted(axis.get_view_interval())
        ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
        boxes = [
            tick.label1.get_window_extent()
            for tick in ticks
            if tick.label1.get_text() and within[0] <= tick.get_loc() <= within[1]
        ]
        for number, box in enumerate(boxes):
            assert not any(box.overlaps(other) for other in boxes[:number])


def test_one_source_is_no_sources() -> None:
    assert "1 source in" in extract(mark((80, 90), 40, 30))._repr_html_()
