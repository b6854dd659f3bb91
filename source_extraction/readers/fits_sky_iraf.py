"""The polynomials of IRAF's TNX and ZPX, in texts over several cards, as wcslib can read them.

`wtype=tnx axtype=ra lngcor = "3. 4. 4. 2. -0.1 0.1 -0.1 0.1 0.001 ..."`: the kind of function, the numbers of its terms
in x and y, which of their products there are, the ranges of x and y, and the coefficients (The TNX World Coordinate
System, IRAF).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

PIECE = 68  # letters of a text that a card has room for (FITS standard 4.0, 4.2.1.1)
BEFORE_COEFFICIENTS = 8
HALF = 2.0  # products of x and y whose powers together are below the number of terms


def readable(pieces: list[list[str]]) -> list[list[str]]:
    """The texts of both axes in pieces that wcslib reads as they were meant.

    It puts every piece behind 68 letters for each before, whatever there are, and drops blanks at the end of one,
    though they separate two numbers. Of two polynomials it takes the second's number of terms for the first's.
    """
    texts = _of_the_same_order([_joined(of_axis) for of_axis in pieces])
    return [list(_cut(text)) for text in texts]


def _joined(pieces: list[str]) -> str:
    """A text with the blanks that other programs dropped at the end of its pieces."""
    longest = max(map(len, pieces), default=0)
    length = PIECE if longest >= PIECE - 1 else longest
    return re.sub(" +", " ", "".join(piece.ljust(length) for piece in pieces[:-1]) + "".join(pieces[-1:]))


def _of_the_same_order(texts: list[str]) -> list[str]:
    """The polynomials with as many terms as the one that has most, where they are of the usual kind."""
    polynomials = [text.split('"')[1].split() if text.count('"') == 2 else [] for text in texts]
    orders = [_order_of(polynomial) for polynomial in polynomials]
    if 0 in orders or len(set(orders)) == 1:
        return texts
    most = max(orders)
    longer = []
    for text, polynomial, order in zip(texts, polynomials, orders, strict=True):
        kind, _, _, *ranges = polynomial[:BEFORE_COEFFICIENTS]
        given = iter(polynomial[BEFORE_COEFFICIENTS:])
        # A row for each power of y, which has a term less than the one before.
        rows = [[next(given) if i + j < order else "0." for i in range(most - j)] for j in range(most)]
        numbers = [kind, f"{most}.", f"{most}.", *ranges, *(number for row in rows for number in row)]
        before, _, _ = text.partition('"')
        longer.append(f'{before}"{" ".join(numbers)} "')
    return longer


def _order_of(polynomial: list[str]) -> int:
    """The number of terms in x and y of a polynomial with half of the products; 0 of any other."""
    try:
        _, in_x, in_y, products = (float(number) for number in polynomial[:4])
    except ValueError:
        return 0
    usual = in_x == in_y and products == HALF and in_x * (in_x + 1) / 2 == len(polynomial) - BEFORE_COEFFICIENTS
    return int(in_x) if usual else 0


def _cut(text: str) -> Iterator[str]:
    """A text of numbers, a card's room at a time; where a blank would come last, the number before gets longer."""
    while len(text) > PIECE:
        if text[PIECE - 1] == " ":
            start = text.rindex(" ", 0, PIECE - 1) + 1
            mantissa, exponent = re.fullmatch("([^EeDd]*)(.*)", text[start : PIECE - 1]).groups()  # type: ignore[union-attr]
            text = text[:start] + mantissa + ("0" if "." in mantissa else ".") + exponent + text[PIECE - 1 :]
        yield text[:PIECE]
        text = text[PIECE:]
    if text:
        yield text
