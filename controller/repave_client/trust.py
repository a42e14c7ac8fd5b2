"""Which certificate of a controller is believed."""

import ssl

from repave_client.errors import NotAController


def context_with(authority: str) -> ssl.SSLContext:
    """Names are checked; without `authority` (PEM) the machine's count. Raises NotAController."""
    try:
        context = ssl.create_default_context(cadata=authority or None)
    except (ssl.SSLError, ValueError) as error:
        raise NotAController(f"the authority's certificate can't be used: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
