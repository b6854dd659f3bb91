"""The one exception for input that cannot be used, and how sentences count."""

from __future__ import annotations


class InputError(ValueError):
    """What the user gave cannot be used: a file, an array, or an option.

    Its message is one sentence on one line, whatever a file name or a library's message contains. The command line
    prints it and exits with 1, or with 2 if an option is wrong.

    Parameters
    ----------
    source : object
        What is wrong, as the user knows it: the name of a file, or of an option.
    problem : str
        What is wrong with it.
    remedy : str
        What to do about it.
    """

    def __init__(self, source: object, problem: str, remedy: str) -> None:
        self.source, self.problem, self.remedy = str(source), problem, remedy
        super().__init__(" ".join(f"{source}: {problem}; {remedy}".split()))

    def __reduce__(self) -> tuple[type[InputError], tuple[str, str, str]]:
        """Exceptions of worker processes arrive pickled."""
        return type(self), (self.source, self.problem, self.remedy)


class OutputError(InputError):
    """Products cannot be written, whatever they are made of: the folder or the disk is at fault, and no image."""


def counted(number: int, one: str, several: str) -> str:
    """A number and its noun, with a verb where one follows: "1 source lies", "0 sources lie"."""
    return f"{number} {one if number == 1 else several}"
