from math import inf, isnan, nan
from pathlib import Path

import pandas as pd
import pytest

from simfl.errors import ScenarioError
from simfl.reporting.pareto import pareto_chart
from simfl.reporting.study import break_even, pareto, read_study
from simfl.reporting.study_charts import heat_charts
from simfl.reporting.study_page import break_even_tables, points_table, study_sections

LEVEL, RATE = "learning.algorithm.level", "platform.network.rate"


def test_a_table_is_read_with_its_axes(study: Path) -> None:
    found = read_study(study)
    assert found.keys == (LEVEL, RATE)
    assert found.axes() == (RATE, LEVEL)
    assert found.values(RATE) == ["1 Mbit/s", "10 Mbit/s", "100 Mbit/s"]
    assert found.alike == {"seed": "1"}
    assert found.points["sent_bytes"].iloc[3] == 100
    assert isnan(found.points["sent_bytes"].iloc[8])


@pytest.mark.parametrize(
    ("text", "says"), [("a,b\n1,2\n", "no column 'status'"), ("", "no table can be read")]
)
def test_another_table_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text(text)
    with pytest.raises(ScenarioError, match=says):
        read_study(path)
    with pytest.raises(ScenarioError, match="no such file"):
        read_study(tmp_path / "y.csv")


def test_lines_break_even_where_they_cross() -> None:
    falls, flat = {1.0: 100.0, 10.0: 20.0, 100.0: 2.0}, {1.0: 10.0, 10.0: 10.0, 100.0: 10.0}
    # a tenth over the decade, so half at twice as much
    assert break_even(falls, flat) == pytest.approx([20])
    assert break_even(flat, falls) == pytest.approx(break_even(falls, flat))
    assert break_even(falls, {x: y / 2 for x, y in falls.items()}) == []
    assert break_even({1.0: 2.0, 2.0: 1.0, 4.0: 0.5}, {1.0: 1.0, 2.0: 1.0, 4.0: 1.0}) == [2.0]
    assert break_even({1.0: inf, 2.0: 1.0, 4.0: nan}, {1.0: 1.0, 2.0: 2.0, 4.0: 1.0}) == []


def test_the_front_holds_what_nothing_beats() -> None:
    points = pd.DataFrame(
        {
            "time_s": [1, 2, 3, 2, 4, inf, 1],
            "accuracy": [0.5, 0.8, 0.7, 0.8, nan, 0.99, 0.4],
        }
    )
    assert pareto(points, "time_s", "accuracy").tolist() == [
        *(True, True, False, True, False, False, False)
    ]


def test_the_heat_map_has_stars_and_lines(study: Path) -> None:
    found = read_study(study)
    heat, lines = heat_charts(found, RATE, LEVEL)
    drawn = heat.views["time to target"]
    assert [list(row) for row in drawn.data[0].text] == [
        ["100.0 s", "20.0 s", "2.0 s"],
        ["10.0 s", "10.0 s", "10.0 s"],
        ["never", "never", "-"],
    ]
    # the best rows: level 5, level 5, level 0
    assert list(drawn.data[1].y) == [1.33, 1.33, 0.33]
    places = [shape.x0 for shape in drawn.layout.shapes]
    assert places == pytest.approx([1.30103] * 4, rel=1e-5)
    ring = lines.views["time to target"].data[-1]
    assert (ring.name, list(ring.x)) == ("break-even", [pytest.approx(20e6)])
    assert list(ring.y) == [pytest.approx(10)]


def test_the_table_of_break_evens_says_who_costs_less(study: Path) -> None:
    (table,) = break_even_tables(read_study(study), RATE, LEVEL)
    (row,) = table.frame.to_dict("records")
    assert (row["one"], row["other"], row["less_below"], row["less_above"]) == ("0", "5", "5", "0")
    assert table.columns["crossing"].show(row["crossing"]) == "20 Mbit/s"


def test_points_and_fronts(study: Path) -> None:
    found = read_study(study)
    table = points_table("levels", found)
    assert "seed" not in table.columns
    assert table.says == "The same at all points: seed=1."
    front = pareto_chart(found).views["accuracy and time"].data[-1]
    assert (list(front.x), list(front.y)) == ([8, 12], [0.5, 0.9])


def test_a_study_of_one_key_has_no_heat_map(tmp_path: Path) -> None:
    path = tmp_path / "seeds.csv"
    path.write_text("seed,time_s,accuracy,status\n1,5,0.9,complete: x\n2,6,0.8,complete: x\n")
    (section,) = study_sections("seeds", read_study(path))
    assert [block.title for block in section.blocks] == ["Pareto fronts", "Points"]


def test_failed_points_are_told(study: Path) -> None:
    (section,) = study_sections("levels", read_study(study))
    assert section.warnings == ["1 of 9 points failed."]
