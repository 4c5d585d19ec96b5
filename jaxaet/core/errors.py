"""The one error a user's input can cause."""


class InputError(ValueError):
    """Input that cannot be used: what was found, what is allowed, what to do, in one sentence.

    The command line prints the sentence without a traceback and ends with exit code 2.
    """
