"""What can be wrong with one call of a cloud's API, beside the kinds that every provider has."""

from repave_agent.core.ports import ProviderError, TransientError


class GoneError(ProviderError):
    """There is no such thing (404)."""


class LostError(TransientError):
    """Whether it was done is not known: the answer was lost."""
