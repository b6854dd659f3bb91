"""Sky coordinates along the sides of a picture: which one goes where, and the ticks."""

from __future__ import annotations

import numpy as np
from astropy import units
from astropy.visualization.wcsaxes import WCSAxes
from astropy.visualization.wcsaxes.coordinate_helpers import CoordinateHelper
from astropy.visualization.wcsaxes.frame import RectangularFrame
from astropy.visualization.wcsaxes.utils import select_step_degree, select_step_hour
from astropy.wcs import WCS
from matplotlib.backend_bases import RendererBase
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke

# Names that WCSAxes would abbreviate, by the type of the world coordinate (FITS WCS paper II).
NAMES = {
    "RA": "Right ascension",
    "DEC": "Declination",
    "GLON": "Galactic longitude",
    "GLAT": "Galactic latitude",
    "ELON": "Ecliptic longitude",
    "ELAT": "Ecliptic latitude",
}
LONGITUDE, LATITUDE = 0, 1
SAMPLES = 101  # along a side; odd, so that the middle is one
FEWEST_TICKS, MOST_TICKS, MOST_INSIDE = 2, 5, 8
LEAST_SHARE = 0.2  # of a side, that its ticks must span
TICK_INCHES = 1.1  # the space of a label at the bottom; if only a few fit, they are SMALL
SMALL = 7  # points
# Readable on black and on any colour.
INSIDE = {"color": "white", "path_effects": [withStroke(linewidth=2, foreground="black")]}
GRID = {"color": "white", "alpha": 0.35, "linewidth": 0.6}


class Sides(RectangularFrame):
    """A picture's frame that draws only its sides, not the inner lines that carry ticks."""

    def draw(self, renderer: RendererBase) -> None:
        (left, right), (bottom, top) = self.parent_axes.get_xlim(), self.parent_axes.get_ylim()
        style = {"fill": False, "linewidth": self.get_linewidth(), "edgecolor": self.get_color()}
        sides = Rectangle((left, bottom), right - left, top - bottom, transform=self.parent_axes.transData, **style)
        sides.draw(renderer)


def label_sky(axes: WCSAxes, wcs: WCS, shape: tuple[int, int]) -> None:
    """Put one coordinate at the bottom of a picture and the other at its left, with their names and ticks.

    At the bottom is the one that changes most along x in the middle of the image. If a side has too little of the sky,
    as in an all-sky map, the ticks are on the line of the other coordinate through the middle.
    """
    height, width = shape
    axes.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))
    x, y = np.meshgrid(np.linspace(-0.5, width - 0.5, SAMPLES), np.linspace(-0.5, height - 0.5, SAMPLES))
    image = _sky(wcs, x, y)
    from_middle = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5)
    middle = np.unravel_index(np.where(np.isfinite(image[LONGITUDE]), from_middle, np.inf).argmin(), x.shape)
    turned = _is_turned(wcs, x[middle], y[middle])
    for kind, index, name in ((LONGITUDE, wcs.wcs.lng, wcs.wcs.lngtyp), (LATITUDE, wcs.wcs.lat, wcs.wcs.lattyp)):
        coordinate, other = axes.coords[index], axes.coords[1 - index]
        at_bottom = (kind == LONGITUDE) != turned
        _name(coordinate, name.strip(), "b" if at_bottom else "l")
        along = image[kind][0] if at_bottom else image[kind][:, 0]
        step = _step(coordinate, along, _number_at_bottom(axes) if at_bottom else MOST_TICKS)
        if step is not None:
            coordinate.set_ticks(spacing=step)
        else:
            _label_inside(coordinate, other, image[1 - kind][middle], image[kind])
        if at_bottom and _number_at_bottom(axes) == FEWEST_TICKS:
            coordinate.set_ticklabel(size=SMALL)


def _name(coordinate: CoordinateHelper, name: str, side: str) -> None:
    coordinate.set_axislabel(NAMES.get(name, name), parse_math=False)
    for place in (coordinate.set_ticks_position, coordinate.set_ticklabel_position, coordinate.set_axislabel_position):
        place(side)
    coordinate.set_ticklabel(exclude_overlapping=True)


def _number_at_bottom(axes: WCSAxes) -> int:
    """How many labels fit at the bottom."""
    inches = axes.get_window_extent().width / axes.figure.dpi
    return int(np.clip(inches / TICK_INCHES, FEWEST_TICKS, MOST_TICKS))


def _sky(wcs: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Longitudes and latitudes (2, ...) of positions, in degrees; NaN off the sky."""
    world = wcs.all_pix2world(np.ravel(x), np.ravel(y), 0)
    return np.reshape([world[wcs.wcs.lng], world[wcs.wcs.lat]], (2, *np.shape(x)))


def _is_turned(wcs: WCS, x: float, y: float) -> bool:
    """Whether the latitude, rather than the longitude, changes most along x."""
    half = 0.5
    left, right, below, above = _sky(wcs, x + half * np.array((-1, 1, 0, 0)), y + half * np.array((0, 0, -1, 1))).T
    along_x, along_y = ((change + 180) % 360 - 180 for change in (right - left, above - below))
    return bool(abs(along_x[LATITUDE] * along_y[LONGITUDE]) > abs(along_x[LONGITUDE] * along_y[LATITUDE]))


def _step(coordinate: CoordinateHelper, along: np.ndarray, number: int) -> units.Quantity | None:
    """A round spacing of about `number` ticks along a side; None if too few ticks meet the side, or they are too close.

    `along` are the coordinate's values, degrees, at even distances.
    """
    select = select_step_hour if coordinate.get_format_unit() == units.hourangle else select_step_degree
    there = np.flatnonzero(np.isfinite(along))
    values = np.unwrap(along[there], period=360)
    # Where the sky ends and begins again, no tick is met in between.
    neighbours = np.diff(there) == 1
    span = np.ptp(values) if values.size else 0
    for aim in range(number, 4 * number) if span > 0 else ():
        step = select(span / aim * units.degree)
        met = np.diff(np.floor(values / step.to_value(units.degree))) != 0
        ticks = there[1:][met & neighbours]
        if len(ticks) >= FEWEST_TICKS and np.ptp(ticks) > LEAST_SHARE * len(along):
            return step
    return None


def _label_inside(coordinate: CoordinateHelper, other: CoordinateHelper, constant: float, values: np.ndarray) -> None:
    """Put the ticks of a coordinate where the `other` has a `constant` value, with the grid that shows which line."""
    line = f"a constant {other.coord_index}"
    other.add_tickable_gridline(line, constant * units.degree)
    step = _step(coordinate, np.sort(values[np.isfinite(values)]), MOST_INSIDE)
    if step is not None and coordinate.coord_type == "latitude" and step >= 1 * units.degree:
        # Except at the poles, where all lines of constant longitude meet.
        coordinate.set_major_formatter("dd")
        coordinate.set_ticks(np.arange(-90, 90, step.to_value(units.degree))[1:] * units.degree)
    elif step is not None:
        coordinate.set_ticks(spacing=step)
    coordinate.tick_params(color="white")
    for place in (coordinate.set_ticks_position, coordinate.set_ticklabel_position):
        place((line,))
    coordinate.set_ticklabel(**INSIDE)
    coordinate.set_axislabel_visibility_rule("always")
    for helper in (coordinate, other):
        helper.grid(**GRID)
