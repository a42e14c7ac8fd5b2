"""A chain of texts shows every change but one at its end, and that one to who has kept the end."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from repave_protos.daemon.chain import Link, first_hash, link, verify

TEXTS = st.lists(st.text(max_size=10), min_size=1, max_size=8)


def chain_of(texts: list[str], name: str = "ours") -> list[Link]:
    links: list[Link] = []
    for number, text in enumerate(texts, 1):
        links.append(link(number, text, links[-1].hash if links else first_hash(name)))
    return links


@given(TEXTS)
def test_a_chain_holds_as_it_was_made(texts: list[str]) -> None:
    links = chain_of(texts)
    verdict = verify(links, "ours", links[0])
    assert (verdict.fault, verdict.count, verdict.end) == ("", len(links), links[-1])


@given(TEXTS, st.data())
def test_a_row_that_was_changed_moved_or_left_out_is_found(texts: list[str], data: st.DataObject) -> None:
    links = chain_of(texts)
    end, place = links[-1], data.draw(st.integers(0, len(links) - 1))
    text = data.draw(st.text(max_size=10).filter(lambda each: each != links[place].text))
    changed = [*links[:place], replace(links[place], text=text), *links[place + 1 :]]
    made_anew = chain_of([each.text for each in changed])
    left_out = links[:place] + links[place + 1 :]
    assert verify(changed, "ours").fault
    assert verify(made_anew, "ours", end).fault, "who has kept the end finds a chain that was made anew"
    assert verify(left_out, "ours", end).fault
    assert verify(links, "others").fault
    if len(links) > 1:
        assert verify(links[::-1], "ours").fault
