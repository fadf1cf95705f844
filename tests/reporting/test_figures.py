import pytest

from simfl.record import Trace
from simfl.record.critical_path import PARTS, critical_path
from simfl.reporting.answers import answers_table
from simfl.reporting.assumptions import assumptions
from simfl.reporting.curves import accuracy_chart, targets_of, targets_table
from simfl.reporting.layers import densities, densities_figure, pruned
from simfl.reporting.nodes import energy_figure, utilisation_figure
from simfl.reporting.palette import COLOURS, PAPERS, contrast, dark_of
from simfl.reporting.rounds import critical_path_figure, gantt_figure
from simfl.reporting.traffic import FRAME, layer_bytes, layers_figure, links_figure


def test_bytes_by_layer_add_up_to_what_was_sent(run: Trace, ring: Trace) -> None:
    for trace in (run, ring):
        found = layer_bytes(trace)
        assert found["nbytes"].sum() == trace.transfers["nbytes"].sum()
    by_way = layer_bytes(run).groupby("way")["nbytes"].sum()
    down = run.transfers["source"] == "server"
    assert by_way["down"] == run.transfers["nbytes"][down].sum()
    assert set(layer_bytes(run)["layer"]) == {"fc1", "fc2", "fc3"}
    assert set(layer_bytes(ring)["way"]) == {"peer to peer"}


def test_bytes_of_no_layer_have_a_row_of_their_own(run: Trace) -> None:
    found = layer_bytes(run)
    assert FRAME not in set(found["layer"])
    changed = run.transfers.assign(nbytes=run.transfers["nbytes"] + 3)
    run.__dict__["transfers"] = changed
    try:
        rest = layer_bytes(run).set_index(["layer", "way"])["nbytes"][FRAME]
        assert rest.sum() == 3 * len(changed)
    finally:
        del run.__dict__["transfers"]


def test_layers_that_do_not_fit_are_summed(run: Trace) -> None:
    found = layer_bytes(run)
    many = found.loc[found.index.repeat(20)].reset_index(drop=True)
    many["layer"] = [f"layer{n}" for n in range(len(many))]
    drawn = layers_figure(many)
    assert len(drawn.data[0].y) == 15
    assert sum(sum(bar.x) for bar in drawn.data) == many["nbytes"].sum()


def test_densities_are_those_of_the_server(run: Trace) -> None:
    found = densities(run)
    assert list(found) == ["fc1.weight", "fc2.weight", "fc3.weight"]
    assert list(found.index) == [0, 1, 2]
    last = run.activities[run.activities["verb"] == "aggregate"]["manifest"].iloc[-1]
    counts = {t.name: t.nonzero / t.size for t in run.manifest(last).tensors}
    assert found.iloc[-1]["fc1.weight"] == pytest.approx(counts["fc1.weight"])
    assert pruned(found)
    assert densities_figure(found)[0].data[0].z.shape == (3, 3)


def test_every_round_is_a_bar_as_high_as_it_is_long(run: Trace) -> None:
    found = critical_path(run)
    drawn = critical_path_figure(found, peers=False)
    assert sum(bar.y[0] for bar in drawn.data) == pytest.approx(found["length_s"].iloc[0])
    assert [bar.name for bar in drawn.data] == ["downlink", "computing", "uplink", "server"]


def test_many_rounds_are_drawn_as_means(run: Trace) -> None:
    found = critical_path(run).loc[[0] * 1_000].assign(round=range(1, 1_001))
    drawn = critical_path_figure(found, peers=False)
    assert len(drawn.data[0].x) == 100
    assert drawn.data[0].text[0].startswith("round 1 to 10: ")


def test_the_gantt_has_who_took_part(run: Trace, ring: Trace) -> None:
    drawn, says = gantt_figure(run)
    assert list(drawn.layout.yaxis.ticktext) == ["server", "pi3-0", "pi3-1", "pi4-0", "pi4-1"]
    assert says == ""
    down = next(bar for bar in drawn.data if bar.name == "downlink")
    assert len(down.x) == 8
    assert [bar.name for bar in gantt_figure(ring)[0].data] == [
        *("computing", "peer to peer", "critical path")
    ]


def test_links_and_devices(run: Trace) -> None:
    assert max(links_figure(run.links).data[0].x) == run.links["busy"].max()
    computing = utilisation_figure(run).data[0]
    energy = run.energy[run.energy["kind"].isin(["idle", "compute"])]
    length_s = energy.groupby("node")["seconds"].sum().max()
    of = run.energy.set_index(["node", "kind"])["seconds"]
    mean = (of["pi4-0", "compute"] + of["pi4-1", "compute"]) / 2 / length_s
    assert computing.x[list(computing.y).index("pi4")] == pytest.approx(mean)
    drawn, says = energy_figure(run)
    assert drawn is not None
    assert says.startswith("Not known, and not drawn: ")
    assert "sending of " in says


def test_targets(run: Trace) -> None:
    runs = {"pruned": run}
    assert targets_of(runs, [0.5, 0.2]) == ([0.2, 0.5], "asked for with --target")
    found, chosen = targets_of(runs, [])
    assert chosen.startswith("the highest whole percentage")
    assert 0 <= run.curve["accuracy"].max() - found[0] < 0.01
    row = targets_table(runs, [*found, 1.0], chosen).frame.iloc[0]
    assert row["time_s"] == run.time_to_accuracy(found[0])
    assert targets_table(runs, [1.0], "").frame["time_s"].iloc[0] == float("inf")
    assert list(accuracy_chart(runs, found).views) == ["seconds", "bytes", "joules", "rounds"]


def test_every_assumption_has_a_source(run: Trace) -> None:
    found = assumptions(run)
    assert (found["source"].str.len() > 3).all()
    assert found["kind"].iloc[0] == "assumed"
    assert {"pi3", "pi4", "g3s_xlarge", "network", "link wifi_pi_2.4ghz"} <= set(found["of"])


def test_answers_are_those_of_the_command(run: Trace) -> None:
    import simfl

    found = answers_table({"pruned": run}).frame.set_index("device")
    told = simfl.inference_time(run, "pi4")
    assert found.loc["pi4", "latency_s"] == told.latency_s
    assert found.loc["pi4", "parameters"] == told.parameters


def test_colours_stand_out_from_their_paper() -> None:
    for light, dark in COLOURS:
        assert contrast(light, PAPERS[0]) >= 3
        assert contrast(dark, PAPERS[1]) >= 3
    # the page puts one colour in place of another: none may be two things
    assert len(dark_of()) == len(COLOURS) + 4
    assert not set(dark_of()) & set(dark_of().values())


def test_parts_are_drawn_all(run: Trace) -> None:
    from simfl.reporting.palette import PARTS as DRAWN

    assert tuple(DRAWN) == PARTS
    assert len({colour for colour, _, _ in DRAWN.values()}) == len(PARTS)
    assert len({hatch for _, hatch, _ in DRAWN.values()}) == len(PARTS)
