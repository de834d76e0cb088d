"""Errors of the command line: one sentence each, no traceback."""


class CommandError(Exception):
    """Something the caller can act on; `exit_code` is 1 for a failure, 2 for wrong use.

    `status` is the HTTP status of the answer it comes from, if it comes from one.
    """

    def __init__(self, message: str, exit_code: int = 1, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.exit_code = exit_code
