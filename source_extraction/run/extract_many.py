"""Many images from Python: an iterator of their results."""

from __future__ import annotations

import os
import pickle
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ..core.processes import Workers
from ..errors import InputError
from ..settings import OPTIONS
from .extract import extract, require_usable
from .lines import require_several
from .many import is_large
from .result import Result

# Images given out together, per process: a group begins when the previous one has ended.
GROUP = 32


class _One(NamedTuple):
    """An image and its mask."""

    image: Any
    mask: Any

    @property
    def is_file(self) -> bool:
        """Whether another process may read it; arrays in memory stay in this process."""
        return isinstance(self.image, str | os.PathLike) and (
            self.mask is None or isinstance(self.mask, str | os.PathLike)
        )


def extract_many(
    images: Iterable[Any],
    *,
    masks: Iterable[Any] | None = None,
    on_error: str = "yield",
    threads: int = 1,
    **options: Any,
) -> Iterator[Result | InputError]:
    """Find and measure the sources in many images, one after the other.

    Only a few images are in memory at a time, as long as the caller keeps no results.

    Parameters
    ----------
    images : iterable of what `extract` takes
        It may be endless.
    masks : iterable, optional
        The mask of each image, None for none.
    on_error : "yield" or "raise"
        What to do about an image that cannot be used: give its InputError in place of a result, or raise it, which ends
        the iteration.
    threads : int
        Number of processes. Each takes one file at a time, and its share of the `memory`; large files, and images that
        are not files, are searched by all together.
    **options
        Those of `extract`, for all images.

    Returns
    -------
    iterator of Result or InputError
        In the order of the images.

    Raises
    ------
    InputError
        If an option is out of its bounds or contradicts another. While iterating: if there are not as many masks as
        images, or an image cannot be used and `on_error` is "raise".
    TypeError
        If there is no such option.
    """
    require_several("images", images)
    require_several("masks", masks)
    if on_error not in ("yield", "raise"):
        raise InputError("on_error", f"{on_error!r} is not one of the choices", "choose from yield, raise")
    if "mask" in options:
        raise TypeError("there is no option 'mask'; the nearest is 'masks', that of each image")
    require_usable(threads, options)
    found = _Search(threads, options).of(_pairs(images, masks))
    return _raised(found) if on_error == "raise" else found


def _pairs(images: Iterable[Any], masks: Iterable[Any] | None) -> Iterator[_One]:
    if masks is None:
        return (_One(image, None) for image in images)

    def together() -> Iterator[_One]:
        try:
            for image, mask in zip(images, masks, strict=True):
                yield _One(image, mask)
        except ValueError as problem:
            raise InputError("masks", "there are not as many as images", "give None for an image without") from problem

    return together()


def _raised(found: Generator[Result | InputError]) -> Iterator[Result | InputError]:
    """The results up to the first error, which is raised."""
    with closing(found):
        for result in found:
            if isinstance(result, InputError):
                raise result
            yield result


class _Search:
    """The same search of image after image."""

    def __init__(self, threads: int, options: dict[str, Any]) -> None:
        self._workers = Workers(threads)
        self._threads, self._options = threads, options
        memory = OPTIONS["memory"].check(options.get("memory"))
        self._options_of_each = options
        if memory is not None:
            self._options_of_each = options | {"memory": max(memory // self._workers.number, 1)}

    def of(self, pairs: Iterator[_One]) -> Generator[Result | InputError]:
        """The results, in order."""
        if self._workers.number == 1:
            yield from (self._here(one, 1, self._options) for one in pairs)
            return
        while group := list(islice(pairs, GROUP * self._workers.number)):
            with closing(self._workers.map_each(self._elsewhere, group, pickle.dumps, ahead=1)) as found:
                for one, pickled in zip(group, found, strict=True):
                    if pickled is None:
                        yield self._here(one, self._threads, self._options)
                    else:
                        yield _unpickled(pickled)

    def _here(self, one: _One, threads: int, options: dict[str, Any]) -> Result | InputError:
        try:
            return extract(one.image, mask=one.mask, threads=threads, **options)
        except InputError as problem:
            return problem

    def _elsewhere(self, one: _One) -> bytes | None:
        """The pickled result; None if it must be computed in the process that asks for it."""
        if not one.is_file or "wcs" in self._options:
            return None
        # The result of a large image is as large, and would be in memory twice. A stack is large, but its planes are
        # not.
        if self._options.get("plane") is None and is_large(Path(one.image)):
            return None
        try:
            return pickle.dumps(self._here(one, 1, self._options_of_each))
        except (pickle.PicklingError, AttributeError, TypeError):
            return None


def _unpickled(pickled: bytes) -> Result | InputError:
    found: Result | InputError = pickle.loads(pickled)
    return found
