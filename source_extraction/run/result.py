"""The results of a run, for use in a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .pipeline import files_of, make_products, memory_is_said, steps_for, take_steps
from .products import chosen_products
from .steps import Steps

if TYPE_CHECKING:
    import os

    import pandas as pd
    from astropy.table import Table
    from astropy.wcs import WCS
    from matplotlib.axes import Axes

    from ..core.advice import Advice

ROWS_SHOWN = 5
DOTS_PER_INCH_SHOWN = 90


class Result:
    """The results for an image: the catalog, the maps, and the products that a run would write.

    Made by `extract`. Maps are computed on demand, in the unit of the image.

    Parameters
    ----------
    steps : Steps
        The steps of the run, with what each has made.

    Attributes
    ----------
    segmentation : numpy.ndarray
        The segmentation map (height, width), int32: 0 is sky, else the label of the source.
    background, background_rms : numpy.ndarray
        The background and its RMS (height, width), float32, in the image's unit.
    background_subtracted : numpy.ndarray
        The image less its background (height, width), float32, in the image's unit, NaN where masked.
    threshold : float or numpy.ndarray
        The level that a filtered, background-subtracted pixel must exceed to belong to a source, in the image's unit: a
        number, or an array (height, width), float32, if it follows a noise map.
    wcs : astropy.wcs.WCS or None
        The celestial WCS of the image, 2-D, for pixel positions counted from 0.
    warnings : list of str
        The warnings to act on, one sentence each.
    advice : list of Advice or None
        What is wrong with the run, the most important first. Each has an `id`, what was `seen`, the `evidence` in
        numbers, and `change`, the options that cure it. None with `advice=False`.
    summary : dict
        The run in numbers, as summary.json has them.
    """

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def __len__(self) -> int:
        """The number of sources."""
        return len(self._steps.detections)

    def __repr__(self) -> str:
        return f"<Result: {self._steps.title}>"

    @property
    def segmentation(self) -> np.ndarray:
        return self._steps.detections.segmentation

    @cached_property
    def background(self) -> np.ndarray:
        return self._steps.sky.background_map.whole()

    @cached_property
    def background_rms(self) -> np.ndarray:
        return self._steps.sky.rms_map.whole()

    @cached_property
    def background_subtracted(self) -> np.ndarray:
        return self._steps.sky.subtracted.whole()

    @cached_property
    def threshold(self) -> float | np.ndarray:
        return self._steps.threshold.over(self._steps.sky)

    @property
    def wcs(self) -> WCS | None:
        return self._steps.image.wcs

    @property
    def warnings(self) -> list[str]:
        return list(self._steps.log.warnings)

    @property
    def advice(self) -> list[Advice] | None:
        return None if self._steps.advice is None else list(self._steps.advice)

    @property
    def summary(self) -> dict[str, Any]:
        return self._steps.summary()

    def to_table(self) -> Table:
        """The catalog as an astropy table.

        Returns
        -------
        astropy.table.Table
            One row per source and the columns of catalog.tsv in their order, with units and descriptions. `meta` has
            the versions, the name of the image and the options.
        """
        from ..writers.described_tables import as_table

        return as_table(self._steps.catalog, self._steps.settings)

    def to_pandas(self) -> pd.DataFrame:
        """The catalog as a data frame.

        Returns
        -------
        pandas.DataFrame
            One row per source, with `label` as the index and the other columns of catalog.tsv in their order.
        """
        import pandas as pd

        return pd.DataFrame(self._steps.catalog.values).set_index("label")

    def write(self, folder: str | os.PathLike[str], outputs: Iterable[str] | str = ()) -> list[Path]:
        """Write products, the same files as the command line's.

        Parameters
        ----------
        folder : path
            The destination, created if missing. The files appear there once all of them are complete.
        outputs : file names, optional
            The products to make, by default the first nine.

        Returns
        -------
        list of pathlib.Path
            The paths of the files.

        Raises
        ------
        InputError
            If there is no such product, the folder cannot be written, or a product would overwrite a file that the
            result was made from. Existing files then stay.
        """
        from ..writers.staging import staged, writing_to

        wanted = outputs.split(",") if isinstance(outputs, str) else outputs
        chosen, target, steps = chosen_products(wanted), Path(folder), self._steps
        names = [product.name for product in chosen]
        with memory_is_said(steps.settings), staged(target, names, files_of(steps.settings)) as stage:
            needed = steps_for(chosen, steps.settings)
            steps.switch_on(steps.settings.asking_for(needed))
            take_steps(steps, needed)
            with writing_to(target):
                make_products(stage, chosen, steps)
        return [target / product.name for product in chosen]

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the background-subtracted image with an ellipse (3 sigma) or the outline around each source.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to draw, in pixels. By default pyplot makes new ones, with sky coordinates if the image has any.

        Returns
        -------
        matplotlib.axes.Axes
            The axes with the drawing.
        """
        from ..writers.pictures import label_axes, projection_of, show_sources

        if ax is None:
            from matplotlib import pyplot

            _, ax = pyplot.subplots(subplot_kw=projection_of(self._steps.image))
            ax.set_title(self._steps.title, parse_math=False)
            label_axes(ax, self._steps.image)
        steps = self._steps
        show_sources(ax, steps.sky_thumbnail, steps.detections, steps.image, outlines=steps.draws_outlines)
        ax.set_aspect("equal")
        return ax

    def _repr_html_(self) -> str:
        """The notebook view: a part of report.html, with the text, a picture and the first rows."""
        from ..writers.pictures import draw_sources
        from ..writers.report import for_a_notebook

        steps, picture = self._steps, BytesIO()
        draw_sources(
            picture,
            steps.sky_thumbnail,
            steps.detections,
            steps.image,
            steps.title,
            DOTS_PER_INCH_SHOWN,
            outlines=steps.draws_outlines,
        )
        summary = steps.summary()
        return for_a_notebook(summary, steps.advice, steps.catalog, picture.getvalue(), ROWS_SHOWN)
