"""The one exception for input that cannot be used."""


class InputError(Exception):
    """What the user gave cannot be used; the command line prints it and exits with 1.

    Raised where the knowledge is. `source` names the file as the user knows it, `problem` says
    what is wrong with it, `remedy` what to do about it.
    """

    def __init__(self, source: object, problem: str, remedy: str) -> None:
        self.source, self.problem, self.remedy = str(source), problem, remedy
        # One sentence on one line, whatever a file name or a library's message contains.
        super().__init__(" ".join(f"{source}: {problem}; {remedy}".split()))

    def __reduce__(self) -> tuple:
        """Exceptions of worker processes arrive pickled."""
        return type(self), (self.source, self.problem, self.remedy)
