"""The command line that finds the sources in images; what Galaxy's tools for one and for many call."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from ..errors import InputError
from ..readers.memory import of_the_process
from ..run.products import PRODUCTS, chosen_products
from ..settings import OPTIONS, SECTIONS, Option, OutputOptions, Settings, as_typed, options_of
from .command_line import EXIT_CODES, Parser, end_with, execute
from .failures import UNUSABLE, failure

# Bytes: the catalog of a small image needs 400 million, most of them for the libraries.
LEAST_MEMORY = 300_000_000
# Of --plane: every one.
ALL = "all"


class Asked(NamedTuple):
    """What a command line asks for: the images, the options of `settings` by their names, and what concerns many."""

    images: list[Path]
    options: dict[str, Any]
    output: OutputOptions
    listed: Path | None
    all_planes: bool
    resume: bool
    allow_failures: bool

    @property
    def many(self) -> bool:
        """Whether there may be several images, each with a folder of its own."""
        return len(self.images) != 1 or self.listed is not None or self.all_planes


def build_parser() -> Parser:
    """The options of `settings`, in its order and with its defaults, bounds and help."""
    parser = Parser(
        description="Find the sources in an image: catalog, background and segmentation maps, pictures.",
        epilog=f"Products: {', '.join(PRODUCTS)}. {EXIT_CODES}",
        allow_abbrev=False,
    )
    parser.add_argument(
        "images",
        metavar="IMAGE",
        nargs="*",
        type=Path,
        help="FITS or TIFF image; if there are several, each gets a folder of its own in DIR, beside a table of all "
        "images and one catalog of all",
    )
    groups = {section: parser.add_argument_group(section) for section in SECTIONS}
    for option in OPTIONS.values():
        default = "" if option.default in (None, "", ()) else f" (default: {as_typed(option.default)})"
        # argparse fills in what follows a %.
        described = (option.help + default).replace("%", "%%")
        groups[option.section].add_argument(f"--{option.name}", help=described, **_keywords(option))
    _add_many(parser)
    parser.add_switches()
    return parser


def _add_many(parser: Parser) -> None:
    """What says how to go about many images; nothing of what is found depends on it."""
    many = parser.add_argument_group("many images")
    many.add_argument(
        "--list",
        metavar="FILE",
        type=Path,
        help="text file with more images, one path per line, relative to its folder; optionally followed by a tab and "
        "the path of the image's mask, and by another tab and its name",
    )
    many.add_argument("--resume", action="store_true", help="skip the images that are already done with these options")
    many.add_argument("--allow_failures", action="store_true", help="exit with 0 even if some images could not be used")


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
    if option.is_size:
        return "SIZE"
    if option.bounds is not None:
        return "X|KEYWORD" if str in option.kinds else "N" if option.whole else "X"
    if Path in option.kinds:
        return "DIR" if option.name.endswith(("dir", "scratch")) else "FILE"
    # "HDU" of mask_hdu too.
    return option.name.rpartition("_")[2].upper()


def _converter(option: Option) -> Callable[[str], Any]:
    def convert(text: str) -> Any:
        if option.name == "plane" and text == ALL:
            return ALL
        try:
            value = option.from_text(text)
            if option.name == "outputs":
                if not value:
                    raise InputError(option.name, "no product is chosen", f"choose from {', '.join(PRODUCTS)}")
                chosen_products(value)
        except InputError as problem:
            every = f", or {ALL}" if option.name == "plane" else ""
            raise argparse.ArgumentTypeError(f"{problem.problem}; {problem.remedy}{every}") from problem
        return value

    return convert


def asked_for(arguments: Sequence[str] | None = None) -> Asked:
    """What a command line asks for; ends the process with 2 where it is wrong."""
    parser = build_parser()
    given = vars(parser.parse_args(arguments))
    output = OutputOptions(**{option.name: given.pop(option.name) for option in options_of(OutputOptions)})
    images, listed = given.pop("images"), given.pop("list")
    resume, allow_failures = given.pop("resume"), given.pop("allow_failures")
    if not (images or listed):
        parser.error("there is no image; give one or more, or a --list of them")
    all_planes = given["plane"] == ALL
    given["plane"] = None if all_planes else given["plane"]
    asked = Asked(images, given, output, listed, all_planes, resume, allow_failures)
    if asked.many and given["name"]:
        parser.error("--name: it names one image; put the names of several into the --list")
    if not asked.many and (resume or allow_failures):
        parser.error(f"--{'resume' if resume else 'allow_failures'}: there is one image only; leave it out")
    try:
        # Whatever contradicts itself does so for every image; whether there is a mask, the list says.
        mask = {"mask_file": given["mask_file"] or Path("mask")} if listed else {}
        Settings.of(Path("image") if asked.many else images[0], **given | mask)
    except InputError as problem:
        parser.error(f"--{problem}")
    return asked


def parse(arguments: Sequence[str] | None = None) -> tuple[Settings, OutputOptions]:
    """What a command line asks for that gives one image; ends the process with 2 where it is wrong."""
    asked = asked_for(arguments)
    return Settings.of(asked.images[0], **asked.options), asked.output


def main(arguments: Sequence[str] | None = None) -> int:
    """Run; the exit code."""
    failed: list[bool] = []
    code = execute(lambda: failed.append(_run(asked_for(arguments))), arguments)
    return code or (UNUSABLE if any(failed) else 0)


def _run(asked: Asked) -> bool:
    """Whether images could not be used, and that is a failure."""
    # Before the libraries, for which there might be no memory to say so.
    if (left := of_the_process()) < LEAST_MEMORY:
        raise InputError(
            asked.images[0] if asked.images else asked.listed,
            f"the limits of this process leave {left / 1e6:.0f} MB of memory, which is too little for any image",
            "raise the limit (ulimit -v)",
        )
    # Late, so that --help and a wrong option are answered at once.
    if not asked.many:
        from ..run.pipeline import run

        run(Settings.of(asked.images[0], **asked.options), asked.output)
        return False
    from ..run.many import Given, given_in, run_many

    given = [Given(image) for image in asked.images] + (given_in(asked.listed) if asked.listed else [])
    failed = run_many(
        given,
        asked.options,
        asked.output,
        lambda problem: failure(problem).sentence,
        all_planes=asked.all_planes,
        resume=asked.resume,
        lists=[asked.listed] if asked.listed else [],
    )
    return failed > 0 and not asked.allow_failures


def program() -> NoReturn:
    """Be the program `source-extraction`."""
    end_with(main)
