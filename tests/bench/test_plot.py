from xml.etree import ElementTree

from bench.harness import Sample
from bench.outcomes import Outcome
from bench.rows import Row

from bench import plot

SVG = "{http://www.w3.org/2000/svg}"


def outcome(title: str, **options: bool) -> Outcome:
    row = Row("key", title, lambda _b, _s: Sample(1.0), **({"others": True} | options))  # type: ignore[arg-type]
    return Outcome(
        row,
        {"ours": [Sample(4000.0)], "peer": [Sample(900.0), Sample(1000.0), Sample(5000.0)]},
        {"aedes": "5 < 6 & so on"},
    )


def drawn(*outcomes: Outcome) -> ElementTree.Element:
    return ElementTree.fromstring(plot.draw(outcomes, [("Commit", "abc"), ("Kernel", "any")]))


def test_bars_are_to_the_scale_of_their_row_and_carry_their_figures() -> None:
    root = drawn(outcome("first"))
    bars = [one for one in root.iter(f"{SVG}rect") if one.get("fill")]
    lengths = [float(one.get("width", "0")) for one in bars]
    assert lengths[0] == 4 * lengths[1]
    said = [one.text for one in root.iter(f"{SVG}text")]
    assert said == ["first", "tokenmq", "4,000", "Mosquitto", "1,000", "aedes", "5 < 6 & so on", "abc"]


def test_everything_lies_within_the_picture() -> None:
    root = drawn(outcome("first"), outcome("second"))
    width, height = float(root.get("width", "0")), float(root.get("height", "0"))
    for one in root.iter(f"{SVG}rect"):
        assert float(one.get("x", "0")) + float(one.get("width", "0")) <= width
        assert float(one.get("y", "0")) + float(one.get("height", "0")) <= height
    assert all(float(one.get("y", "0")) < height for one in root.iter(f"{SVG}text"))


def test_rows_without_other_brokers_and_rows_that_are_no_rates_are_not_drawn() -> None:
    left_out = [outcome("alone", others=False), outcome("latency", per_second=False)]
    assert plot.plotted([*left_out, outcome("drawn")])[0].row.title == "drawn"
    assert len(plot.plotted([*left_out, outcome("drawn")])) == 1


def test_the_picture_has_a_title_and_says_its_figures_in_words() -> None:
    root = drawn(outcome("first"))
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title") is not None
    told = root.find(f"{SVG}desc")
    assert told is not None
    assert "first: tokenmq 4,000, Mosquitto 1,000, aedes 5 < 6 & so on." in str(told.text)


def test_a_run_without_rates_is_an_empty_picture() -> None:
    assert [one.text for one in drawn().iter(f"{SVG}text")] == ["abc"]
