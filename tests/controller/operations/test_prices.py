"""The table of prices is read as it is now, and not at all where it is in doubt."""

import os
from pathlib import Path

import pytest

from repave_controller.core.planning.prices import Row
from repave_controller.operations.prices import PriceError, PriceFile, read_rows

HEAD = "provider,region,size,hourly,currency,spot_hourly\n"


def test_every_row_is_a_price_and_an_empty_cell_is_not_known() -> None:
    text = HEAD + "aws,eu-west,xl,0.4032,EUR,0.15\naws, *, , 0.1, EUR,\ngcp,*,xl,,USD,0.2\n"
    assert read_rows(text) == {
        ("aws", "eu-west", "xl"): Row(0.4032, 0.15, "EUR"),
        ("aws", "*", ""): Row(0.1, None, "EUR"),
        ("gcp", "*", "xl"): Row(None, 0.2, "USD"),
    }
    assert read_rows("\ufeffsize,hourly,currency,provider,region\nxl,1,EUR,aws,*\n") == {
        ("aws", "*", "xl"): Row(1.0, None, "EUR")
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "line 1: has no provider, region, size, hourly, currency"),
        ("provider;region;size\n", "line 1: has no provider"),
        (HEAD.replace("spot_hourly", "note"), "line 1: note is none of provider"),
        (HEAD + "aws,*,xl,0.4\n", "line 2: has another number of cells"),
        (HEAD + "aws,*,xl,0.4,EUR,0.1,more\n", "line 2: has another number of cells"),
        (HEAD + "aws,,xl,0.4,EUR,\n", "line 2: region is empty"),
        (HEAD + ",*,xl,0.4,EUR,\n", "line 2: provider is empty"),
        (HEAD + "aws,*,xl,0.4,euro,\n", "line 2: currency 'euro' is not three letters"),
        (HEAD + "aws,*,xl,-1,EUR,\n", "line 2: hourly '-1' is no price"),
        (HEAD + "aws,*,xl,free,EUR,\n", "line 2: hourly 'free' is no price"),
        (HEAD + "aws,*,xl,nan,EUR,\n", "line 2: hourly 'nan' is no price"),
        (HEAD + "aws,*,xl,1,EUR,1e3\n", "line 2: spot_hourly '1e3' is no price"),
        (HEAD + "aws,*,xl,1,EUR,\naws,*,xl,2,EUR,\n", "line 3: aws, \\*, xl is there twice"),
        (HEAD + 'aws,*,"xl,1,EUR,\n', "is no CSV"),
    ],
)
def test_a_table_in_doubt_is_refused_by_its_line(text: str, said: str) -> None:
    with pytest.raises(PriceError, match=said):
        read_rows(text)


async def test_the_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    prices = PriceFile(path)
    assert (await prices.now({})).fault == f"prices: {path}: No such file or directory"
    for at, hourly in ((1_795_000_000, 0.4), (1_795_100_000, 0.5)):
        path.write_text(f"{HEAD}aws,*,xl,{hourly},EUR,\n")
        os.utime(path, (at, at))
        found = await prices.now({})
        assert (found.rows["aws", "*", "xl"].usual, found.fault) == (hourly, "")
    assert found.as_of == "2026-11-19"
    path.write_text("nonsense")
    found = await prices.now({})
    assert (found.rows, found.fault.startswith(f"prices: {path}: line 1: has no")) == ({}, True)
    assert await PriceFile(None).now({}) == type(found)()
