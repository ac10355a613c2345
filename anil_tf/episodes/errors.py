"""The one exception that bad data or a bad request for data raises."""


class DataError(ValueError):
    """Data that cannot serve, or a request that the data cannot meet.

    The message is always a single line that says what happened, what was expected, what was
    received and how to mend it, so that a binary can print it as it is.
    """

    def __init__(self, message: str):
        super().__init__(" ".join(str(message).split()))
