"""What can go wrong for a user; the command prints these in a line or two, without a traceback."""


class MnadError(Exception):
    """A fault that the user can mend; the message says what it is and what to do."""


class DataError(MnadError):
    """The data are missing, unreadable or contradict themselves."""


class ConfigError(MnadError):
    """Options that do not fit each other, the data or the model."""


class CheckpointError(MnadError):
    """A file that is not a checkpoint, or not of this model."""


class Interrupted(Exception):  # noqa: N818 (not an error)
    """Ctrl-C or SIGTERM came, and what was done so far is kept."""


class OutputError(MnadError):
    """A result cannot be written."""
