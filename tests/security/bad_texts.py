"""Texts that mean harm, or that break what reads them: for every place that reads YAML, JSON or TOML."""

from typing import Final

DEEP = 20_000
LONG = 5 * 1024 * 1024
_MERGES = "\n".join(
    ["x-a0: &a0 {k: v}", *(f"x-a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 14))]
)
_ALIASES = "\n".join(
    ["a0: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 14))]
)

EVERYWHERE: Final[dict[str, bytes]] = {
    "empty": b"",
    "NUL": b"a: \x00\n",
    "byte order mark": b"\xef\xbb\xbf{",
    "two byte order marks": b"\xef\xbb\xbf\xef\xbb\xbf[]",
    "UTF-16": "a: 1".encode("utf-16"),
    "half a character": b"a = '\xc3",
    "overlong": b"\xc0\xaf",
    "surrogate": b"\xed\xa0\x80",
    "control characters": b"\x1b]0;title\x07\x9b",
    "a number of 10,000 digits": b"1" * 10_000,
    "such a value": b"a = " + b"1" * 10_000,
    "such a field": b'{"a": ' + b"1" * 10_000 + b"}",
    "one line of 5 MiB": b"a" * LONG,
    "5 MiB of blanks": b" " * LONG,
}
YAML: Final[dict[str, bytes]] = {
    **EVERYWHERE,
    "merge keys": (_MERGES + "\nb: {<<: *a13}").encode(),
    "merge keys of a list of merge keys": (_MERGES + "\nhost: {<<: [*a13, *a13]}").encode(),
    "aliases": (_ALIASES + "\nb: *a13").encode(),
    "an alias of itself": b"a: &a [*a]",
    "a merge of itself": b"a: &a {<<: *a}",
    "deep lists": b"[" * DEEP,
    "deep mappings": b"{a: " * DEEP,
    "deep blocks": b"\n".join(b" " * depth + b"a:" for depth in range(200)),
    "deep dashes": b"- " * 5_000,
    "an object of Python": b"!!python/object/apply:os.system ['true']",
    "its name": b"a: !!python/name:os.system",
    "a tag of one's own": b"a: !<tag:evil.example,2026:run> x",
    "an odd tag": b"!<%00> x",
    "a twice named field": b"a: 1\na: 2\n",
    "two documents": b"a: 1\n---\na: 2\n",
    "a directive": b"%TAG ! tag:evil.example,2026:\n---\na: !x 1\n",
    "a version": b"%YAML 9.9\n---\na: 1\n",
    "a day that is none": b"a: 2026-99-99\n",
    "an hour that is none": b"a: 2026-01-01T99:99:99Z\n",
    "a mapping as a name": b"{a: 1}: 2\n",
    "a list as a name": b"? [a, b]\n: 2\n",
    "an unknown alias": b"a: *nobody\n",
    "a tab": b"a:\n\tb: 1\n",
    "an open quote": b'a: "' + b"x\n" * 1000,
    "an escape that is none": b'a: "\\xZZ"',
    "half a surrogate pair": b'a: "\\ud800"',
    "beyond Unicode": b'a: "\\U00110000"',
    "a sexagesimal number": b"a: " + b"1:" * 5000 + b"1",
    "infinity": b"a: .inf\nb: -.nan\n",
    "binary": b"a: !!binary '====='\n",
    "a set": b"!!set {a, a}\n",
    "ordered": b"!!omap [a: 1, a: 2]\n",
}
JSON: Final[dict[str, bytes]] = {
    **EVERYWHERE,
    "deep lists": b"[" * DEEP,
    "deep objects": b'{"a":' * DEEP,
    "deep and whole": b"[" * 900 + b"]" * 900,
    "not a number": b'{"a": NaN}',
    "infinity": b'{"a": 1e999}',
    "half a surrogate pair": b'{"a": "\\ud800"}',
    "trailing words": b"{} {}",
    "a twice named field": b'{"a": 1, "a": 2}',
    "a list": b"[]",
    "null": b"null",
    "text": b'"a"',
    "a comment": b"{} // x",
}
TOML: Final[dict[str, bytes]] = {
    **EVERYWHERE,
    "deep lists": b"a = " + b"[" * DEEP,
    "deep tables": b"a = " + b"{a = " * DEEP,
    "deep names": b"a" + b".a" * 2_000 + b" = 1",
    "a twice named field": b"a = 1\na = 2\n",
    "a day that is none": b"a = 2026-99-99",
    "half a surrogate pair": b'a = "\\ud800"',
    "a list where a section is": b"http = []\nlimits = []\ncontexts = []\n",
    "a number where a section is": b"http = 1\ntls = 1\ncontexts = 1\n",
    "a section where text is": b"[log]\na = 1\n",
    "a list of sections": b"[[contexts]]\nurl = 1\n",
}
