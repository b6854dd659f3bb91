"""The command line that finds the sources in an image; what Galaxy's tool source-extractor calls."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..errors import InputError
from ..readers.memory import of_the_process
from ..run.products import PRODUCTS, chosen_products
from ..settings import OPTIONS, SECTIONS, Option, OutputOptions, Settings, as_typed, options_of
from .command_line import EXIT_CODES, Parser, end_with, execute

# Bytes: the catalog of a small image needs 400 million, most of them for the libraries.
LEAST_MEMORY = 300_000_000


def build_parser() -> Parser:
    """The options of `settings`, in its order and with its defaults, bounds and help."""
    parser = Parser(
        description="Find the sources in an image: catalog, background and segmentation maps, pictures.",
        epilog=f"Products: {', '.join(PRODUCTS)}. {EXIT_CODES}",
        allow_abbrev=False,
    )
    parser.add_argument("image", metavar="IMAGE", type=Path, help="FITS or TIFF image")
    groups = {section: parser.add_argument_group(section) for section in SECTIONS}
    for option in OPTIONS.values():
        default = "" if option.default in (None, "", ()) else f" (default: {as_typed(option.default)})"
        groups[option.section].add_argument(f"--{option.name}", help=option.help + default, **_keywords(option))
    parser.add_switches()
    return parser


def _keywords(option: Option) -> dict[str, Any]:
    """What add_argument takes for an option besides its name and help."""
    if option.kinds == (bool,):
        return {"action": argparse.BooleanOptionalAction, "default": option.default}
    if option.choices:
        return {"choices": option.choices, "default": option.default}
    return {"metavar": _metavar(option), "type": _converter(option), "default": option.default}


def _metavar(option: Option) -> str:
    """What stands for a value in the help."""
    if option.is_list:
        return "LIST" if str in option.kinds else "D,D,..."
    if option.bounds is not None:
        return "X|KEYWORD" if str in option.kinds else "N" if option.whole else "X"
    if Path in option.kinds:
        return "DIR" if option.name.endswith("dir") else "FILE"
    # "HDU" of mask_hdu too.
    return option.name.rpartition("_")[2].upper()


def _converter(option: Option) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        try:
            value = option.from_text(text)
            if option.name == "outputs":
                if not value:
                    raise InputError(option.name, "no product is chosen", f"choose from {', '.join(PRODUCTS)}")
                chosen_products(value)
        except InputError as problem:
            raise argparse.ArgumentTypeError(f"{problem.problem}; {problem.remedy}") from problem
        return value

    return convert


def parse(arguments: Sequence[str] | None = None) -> tuple[Settings, OutputOptions]:
    """What a command line asks for; ends the process with 2 where it is wrong."""
    parser = build_parser()
    given = vars(parser.parse_args(arguments))
    output = OutputOptions(**{option.name: given.pop(option.name) for option in options_of(OutputOptions)})
    try:
        return Settings.of(given.pop("image"), **given), output
    except InputError as problem:
        parser.error(f"--{problem}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code."""
    return execute(lambda: _run(*parse(arguments)), arguments)


def _run(settings: Settings, output: OutputOptions) -> None:
    # Before the libraries, for which there might be no memory to say so.
    if (left := of_the_process()) < LEAST_MEMORY:
        raise InputError(
            settings.source,
            f"the limits of this process leave {left / 1e6:.0f} MB of memory, which no image is small enough for",
            "raise the limit (ulimit -v)",
        )
    # Late, so that --help and a wrong option are answered at once.
    from ..run.pipeline import run

    run(settings, output)


def program() -> NoReturn:
    """Be the program `source-extraction`."""
    end_with(main)
