"""What can go wrong while starting, in sentences a person can act on."""


class StartupError(Exception):
    """Something the operator has to change before the installation can run; the message says what."""


class EmbeddedServerError(StartupError):
    """An embedded server could not be installed, started or stopped."""
