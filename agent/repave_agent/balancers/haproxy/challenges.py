"""How HAProxy answers an ACME server that looks at a name by HTTP-01 (RFC 8555, 8.3).

It needs no help of a program: the answer is the token that is asked for, and the thumbprint of the account.
So each HAProxy answers at any time, whichever agent with that account asks for the name.
"""

from collections.abc import Iterator, Sequence

PATH = "/.well-known/acme-challenge/"
NAMES_PER_RULE = 20
"""A line of HAProxy's configuration has 64 words at most."""


def challenge_rules(thumbprint: str, names: Sequence[str]) -> Iterator[str]:
    """Of a front without TLS, before any other answer. Of other names nothing is said: whose they are may be
    another's to show."""
    answer = f'lf-string "%[path,field(4,/)].{thumbprint}"'
    token = f"{{ path -m reg ^{PATH}[A-Za-z0-9_-]+$ }}"
    for first in range(0, len(names), NAMES_PER_RULE):
        some = " ".join(names[first : first + NAMES_PER_RULE])
        of_them = f"{{ req.hdr(host),field(1,:),lower -m str {some} }}"
        yield f"http-request return status 200 content-type text/plain {answer} if {token} {of_them}"
