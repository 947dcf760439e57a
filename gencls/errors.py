"""The one exception that a user's mistake raises."""


class GenclsError(ValueError):
    """Bad input, said in one clear sentence: what is wrong, where, and what to do.

    The `gencls` command prints the sentence alone and exits with status 2.
    """
