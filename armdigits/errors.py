"""The one way to fail: an exception whose text is what the user reads, and whose exit code scripts can test."""


class Failure(Exception):
    """Ends a stage with one line for each of its messages, and without a traceback."""

    exit_code = 1

    def __init__(self, *messages: str) -> None:
        super().__init__("\n".join(messages))


class GateFailed(Failure):
    """A result is worse than `params.yaml` allows. The result itself has been written."""


class BadInput(Failure):
    """A parameter, file, image or argument is not what it must be."""

    exit_code = 2
