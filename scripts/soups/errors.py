"""The one exception that means: the user can mend this."""


class UserError(ValueError):
    """Bad input. The message is one sentence: what, its value, what was expected."""
