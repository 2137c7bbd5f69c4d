"""The two ways in which a person's input can be wrong."""


class UsageError(ValueError):
    """A mistake the user can mend. One line: what was given, what is allowed, what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


class CheckFailed(Exception):
    """What was to be checked is not as it should be; the message, one line, says what. The command ends with 1."""


class BadImage(ValueError):
    """One file that cannot be used as an image; the message is the reason.

    It is skipped, counted and listed. No run ends because of one.
    """
