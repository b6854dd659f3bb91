"""Values by their place among all, found without having all in memory: what numpy finds of all of them."""

from collections.abc import Callable

import numpy as np
import pytest

from source_extraction.core import in_order, source_mask
from source_extraction.core.detections import Detections

RANDOM = np.random.default_rng(5)
VALUES: dict[str, Callable[[int], np.ndarray]] = {
    "of many sizes": lambda number: RANDOM.lognormal(sigma=3, size=number),
    "alike": lambda number: 5 + RANDOM.random(number) / 1000,
    "one": lambda number: np.full(number, 3.3),
    "few": lambda number: RANDOM.integers(0, 5, number) / 3,
    "zeros": np.zeros,
}


@pytest.mark.parametrize("few", [10, in_order.FEW])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("name", VALUES)
def test_as_numpy_has_it(name: str, kind: type, few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_order, "FEW", few)
    for number in (1, 2, 3, 1000, 1001):
        values = VALUES[name](number).astype(kind)

        def parts(values: np.ndarray = values) -> list[np.ndarray]:
            return np.array_split(values, min(len(values), 7))

        found = in_order.values_at(parts, range(number))
        assert found.dtype == kind
        np.testing.assert_array_equal(found, np.sort(values))
        assert np.median(in_order.in_the_middle(parts, number)) == np.median(values)
        for share in (1, 15.87, 50, 84.13) if kind is np.float64 else ():
            assert in_order.percentile(parts, number, share) == np.percentile(values, share)


def test_margins_of_sources_some_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is around a source reaches from one part of the image into others."""
    segmentation = np.zeros((300, 200), np.int32)
    segmentation[140:160, 90:120], segmentation[3, 5], segmentation[280:299, :30] = 1, 2, 3
    sources = np.array([(600,), (1,), (570,)], dtype=[("npix", int)])
    found = Detections(sources, segmentation)
    whole = source_mask.around_sources(found, None, (8, 8))
    monkeypatch.setattr(source_mask, "PIXELS_AT_A_TIME", 1)
    in_parts = source_mask.around_sources(found, None, (8, 8))
    assert whole is not None
    assert 1500 < np.count_nonzero(whole) < whole.size / 2
    np.testing.assert_array_equal(in_parts, whole)
