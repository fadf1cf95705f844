"""The Pi 3's airtime rate, solved from one measured communication time.

    python analysis/calibrate_pi_radio.py

Jiang et al. 2019 measured, over ten clients (five Pi 3, five Pi 4) and LeNet-300-100, 10.57 s of
communication per federation at level 1 (Fig. 2). A client's communication timer runs from its last
step until the next model is loaded; computation is given for the Pi 3, the slowest. So one
federation lasts 1.87 + 10.57 s. The Pi 4's rate comes from Fig. 11 (five Pi 4s alone); the exchange
overhead from level 30 of Fig. 2. What remains is the Pi 3's rate: it is varied until the simulated
federation lasts as long as the measured one. That the Pi 4s finish computing first, and send while
the Pi 3s still compute, is part of the simulation.

Level 30 is not used for the rate; the script prints it, and the error there.
"""

from pathlib import Path

from simfl.scenario import load
from simfl.scenario.schema import Scenario
from simfl.simulation import plan

ROOT = Path(__file__).parent.parent
MEASURED = {1: (1.87, 10.57), 30: (0.07, 0.48)}  # level: computation, communication (s), Fig. 2


def federation(level: int, *changes: str) -> tuple[float, float]:
    """Computation of the slowest client, and the rest of a simulated federation, in seconds."""
    fixed = (f"learning.algorithm.level={level}", "learning.dataset.name=digits")
    scenario: Scenario = load(ROOT / "scenarios" / "pi_lenet.yaml", (*fixed, *changes))
    _, tape = plan(scenario)
    return tape.computation_s, tape.communication_s


def main() -> None:
    """Bisect, and print both levels."""
    low, high = 5.0, 60.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        rates = f"platform.network.rates={{pi3: {middle:.9f} Mbit/s, pi4: 36.09 Mbit/s}}"
        _, communication = federation(1, rates)
        low, high = (middle, high) if communication > MEASURED[1][1] else (low, middle)
    print(f"Pi 3 radio: {low:.3f} Mbit/s (Pi 4 held at 36.09)")
    for level, (compute_s, send_s) in MEASURED.items():
        rates = f"platform.network.rates={{pi3: {low:.9f} Mbit/s, pi4: 36.09 Mbit/s}}"
        computation, communication = federation(level, rates)
        print(
            f"level {level:2}: computation {computation:6.3f} s (measured {compute_s}), "
            f"communication {communication:6.3f} s (measured {send_s}, "
            f"{communication / send_s - 1:+.1%})"
        )


if __name__ == "__main__":
    main()
