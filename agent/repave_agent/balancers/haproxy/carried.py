"""What a worker tells the one that takes over from it: which servers are down. Pure.

A worker takes every server to be up until its own checks say otherwise, so each reload would send requests to
those that are ill. HAProxy reads the file of server states whenever it starts.
"""

from repave_agent.balancers.haproxy.up import Key

NONE = "1\n"
"""The file's version: nothing is known, which is right at any other start."""

_GROUP, _HOST, _OPERATION, _ADMINISTRATION = 1, 3, 5, 6
_DOWN, _ENABLED = "0", "0"


def down_servers(answer: str, unchanged: frozenset[Key]) -> str:
    """The file, from the answer to `show servers state`: of those that the reload does not change."""
    lines = [line.split(" ") for line in answer.splitlines()]
    rows = [
        words
        for words in lines
        if len(words) > _ADMINISTRATION
        and (words[_GROUP], words[_HOST]) in unchanged
        and (words[_OPERATION], words[_ADMINISTRATION]) == (_DOWN, _ENABLED)
    ]
    header = [words for words in lines if words[:2] == ["#", "be_id"]]
    return NONE + "".join(f"{' '.join(words)}\n" for words in (*header, *rows)) if rows else NONE
