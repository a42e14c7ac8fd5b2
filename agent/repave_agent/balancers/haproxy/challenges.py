"""How HAProxy answers an ACME server that looks at a name by HTTP-01 (RFC 8555, 8.3).

It needs no help of a program: the answer is the token that is asked for, and the thumbprint of the account.
So each HAProxy answers at any time, whichever agent with that account asks for the name.
"""

from collections.abc import Iterator

PATH = "/.well-known/acme-challenge/"


def challenge_rules(thumbprint: str) -> Iterator[str]:
    """Of a front without TLS, before any other answer."""
    answer = f'lf-string "%[path,field(4,/)].{thumbprint}"'
    token = f"{{ path -m reg ^{PATH}[A-Za-z0-9_-]+$ }}"
    yield f"http-request return status 200 content-type text/plain {answer} if {token}"
