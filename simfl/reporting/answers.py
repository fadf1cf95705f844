"""How long the network that a run left takes to answer, on every device."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from simfl import resources
from simfl.devices import load_device
from simfl.errors import SimflError
from simfl.inference import final_of, original_of
from simfl.inference_listing import rows_of
from simfl.record import Trace
from simfl.reporting.blocks import Column, Table, count, nbytes, seconds


def answers_table(runs: Mapping[str, Trace]) -> Table:
    """Latency and memory by device, beside those of the network that was pruned."""
    devices = [load_device(name) for name in resources.names("device_models")]
    rows = []
    lacking = []
    for name, trace in runs.items():
        try:
            network, original = final_of(trace), original_of(trace)
        except SimflError as error:
            lacking.append(f"{name}: {error}")
            continue
        for row in rows_of(network, devices, batch=1, original=original):
            before, after, sparse = row.before, row.after, row.sparse
            if before is None or after is None:
                continue
            rows.append(
                {
                    "run": name,
                    "device": row.device,
                    "original_latency_s": before.latency_s,
                    "latency_s": after.latency_s,
                    "ratio": after.latency_s / before.latency_s,
                    "sparse_latency_s": sparse.latency_s if sparse else float("nan"),
                    "memory_bytes": after.memory_bytes,
                    "parameters": after.parameters,
                    "note": row.note,
                }
            )
    columns = {
        "run": Column(head="run"),
        "device": Column(head="device"),
        "original_latency_s": Column(head="original", show=seconds),
        "latency_s": Column(head="network", show=seconds),
        "ratio": Column(head="times", show=lambda v: f"{v:.2f}"),
        "sparse_latency_s": Column(head="held sparse", show=seconds),
        "memory_bytes": Column(head="memory", show=nbytes),
        "parameters": Column(head="parameters", show=count),
        "note": Column(head="note"),
    }
    says = (
        "Time of one sample's forward pass, by the devices' files as they are installed now. The "
        "original is the scenario's network before pruning; a mask alone saves nothing, so the "
        "network counts its zeros unless filters were cut; “held sparse” stores pruned linear "
        "weights as CSR or COO, whichever is sooner. Devices without figures are left out."
    )
    return Table(
        title="Time to answer",
        says=" ".join([says, *lacking]),
        file="inference",
        frame=pd.DataFrame(rows, columns=list(columns)),
        columns=columns,
    )
