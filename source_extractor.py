#!/usr/bin/env python3
"""Find the sources in a FITS or TIFF image: the command line of the Galaxy tool source-extractor."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from extraction import __version__
from extraction.command_line import Parser, end_with, execute
from extraction.products import DEFAULT_PRODUCTS, PRODUCTS
from extraction.settings import Bounds, Settings


def build_parser() -> argparse.ArgumentParser:
    """The options of `Settings`, in its order and with its defaults, bounds and help."""
    parser = Parser(
        description="Find the sources in an image: catalog, background and segmentation maps, pictures.",
        epilog=f"Products: {', '.join(PRODUCTS)}.",
        allow_abbrev=False,
    )
    parser.add_argument("image", metavar="IMAGE", type=Path, help="FITS or TIFF image")
    groups: dict[str, Any] = {}
    for option in dataclasses.fields(Settings)[1:]:
        section = option.metadata["section"]
        group = groups.get(section) or groups.setdefault(section, parser.add_argument_group(section))
        default = ",".join(f"{d:g}" for d in option.default) if option.type == tuple[float, ...] else option.default
        shown = f" (default: {default})" if default not in (None, "", ()) else ""
        group.add_argument(f"--{option.name}", help=option.metadata["help"] + shown, **_keywords(option))
    parser.add_argument("--version", action="version", version=f"source-extractor {__version__}")
    return parser


def _keywords(option: dataclasses.Field) -> dict[str, Any]:
    """What add_argument takes for an option besides its name and help."""
    special = {
        "outputs": {"metavar": "LIST", "type": _products, "default": DEFAULT_PRODUCTS},
        "apertures": {"metavar": "D,D,...", "type": _apertures, "default": option.default},
    }
    if option.name in special:
        return special[option.name]
    if option.type is bool:
        return {"action": argparse.BooleanOptionalAction, "default": option.default}
    if choices := option.metadata.get("choices"):
        return {"choices": choices, "default": option.default}
    if bounds := option.metadata.get("bounds"):
        return {**_number_keywords(option.type, bounds), "default": option.default}
    if option.type in (Path, Path | None):
        return {"metavar": "DIR" if option.name.endswith("dir") else "FILE", "type": Path, "default": option.default}
    return {"metavar": option.name.upper(), "default": option.default}


def _number_keywords(kind: Any, bounds: Bounds) -> dict[str, Any]:
    if kind == float | str | None:
        return {"metavar": "X|KEYWORD", "type": _number_or_keyword(bounds)}
    if kind in (int, int | None):
        return {"metavar": "N", "type": _number(int, bounds)}
    return {"metavar": "X", "type": _number(float, bounds)}


def _number(kind: type, bounds: Bounds) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = float("nan")
        if value not in bounds:
            whole = "whole " if kind is int else ""
            raise argparse.ArgumentTypeError(
                f"{text!r} is out of range; give {bounds}".replace("a number", f"a {whole}number")
            )
        return value

    return number


def _number_or_keyword(bounds: Bounds) -> Callable[[str], float | str]:
    def number_or_keyword(text: str) -> float | str:
        try:
            float(text)
        except ValueError:
            if text.strip():
                return text.strip()
        return _number(float, bounds)(text)

    return number_or_keyword


def _apertures(text: str) -> tuple[float, ...]:
    diameters = [_number(float, Bounds(above=0))(part.strip()) for part in text.split(",") if part.strip()]
    if not diameters:
        raise argparse.ArgumentTypeError("no aperture is given; give diameters in pixels, as 5,10")
    # Columns are named after 6 digits; what has the same name is the same aperture.
    return tuple(float(name) for name in dict.fromkeys(f"{diameter:g}" for diameter in diameters))


def _products(text: str) -> tuple[str, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in PRODUCTS:
            raise argparse.ArgumentTypeError(f"there is no product {name!r}; choose from {', '.join(PRODUCTS)}")
    if not names:
        raise argparse.ArgumentTypeError(f"no product is chosen; choose from {', '.join(PRODUCTS)}")
    return tuple(name for name in PRODUCTS if name in names)


def parse(arguments: Sequence[str] | None = None) -> Settings:
    """The settings that a command line asks for; ends the process with 2 where it is wrong."""
    parser = build_parser()
    settings = Settings(**vars(parser.parse_args(arguments)))
    if settings.filter_case == "file" and settings.filter_file is None:
        parser.error("--filter_case file: there is no kernel; add --filter_file FILE")
    if settings.err_option == "file" and settings.error_file is None:
        parser.error("--err_option file: there is no noise map; add --error_file FILE")
    if settings.err_option != "file" and settings.error_file is not None:
        parser.error(f"--error_file: --err_option {settings.err_option} does not use it; add --err_option file")
    if settings.filter_case != "file" and settings.filter_file is not None:
        parser.error(f"--filter_file: --filter_case {settings.filter_case} does not use it; add --filter_case file")
    return settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code."""
    return execute(lambda: _run(parse(arguments)))


def _run(settings: Settings) -> None:
    # Late, so that --help and a wrong option are answered at once.
    from extraction.pipeline import run

    run(settings)


if __name__ == "__main__":
    end_with(main)
