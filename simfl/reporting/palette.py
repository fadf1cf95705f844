"""Colours, in two sets that a page changes between: for white and for dark paper.

Figures are drawn in the light set; the page puts the dark colour in place of each light one.
Colours are never alone in telling things apart: runs have dashes and markers, parts have hatches.
The hues are those of Okabe and Ito (2008, Color Universal Design), which colour-blind people can
tell apart, darkened or lightened until each has a contrast of 3:1 to its paper.
"""

from __future__ import annotations

from typing import Final

PAPERS: Final = ("#ffffff", "#16191d")
_INKS: Final = ("#1d2125", "#e7eaee")
_FAINT: Final = ("#586069", "#a3adb8")
_GRIDS: Final = ("#d8dde3", "#343b44")
PAPER, INK, FAINT, GRID = PAPERS[0], _INKS[0], _FAINT[0], _GRIDS[0]

COLOURS: Final = (
    ("#0072b2", "#4fb3ee"),  # blue
    ("#d55e00", "#ff8f4a"),  # vermilion
    ("#00805d", "#2fcf9e"),  # green
    ("#a8457f", "#ea9cc6"),  # purple
    ("#8a6a00", "#e9c53f"),  # yellow, as ochre
    ("#3b8fc4", "#a5dbf9"),  # sky
    ("#6b6f76", "#b4bac2"),  # grey
    ("#7048b5", "#bfa3f5"),  # violet
)
"""Light and dark, in the order of use."""
BLUE, VERMILION, GREEN, PURPLE, OCHRE, SKY, GREY, VIOLET = (light for light, _ in COLOURS)

DASHES: Final = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
MARKERS: Final = ("circle", "square", "diamond", "triangle-up", "x", "cross", "star", "pentagon")

# of the parts of a round: colour, hatch and what a person calls it
PARTS: Final = {
    "downlink": (GREEN, "\\", "downlink"),
    "compute": (BLUE, "", "computing"),
    "uplink": (VERMILION, "/", "uplink"),
    "server": (PURPLE, "x", "server"),
    "wait": (GREY, ".", "waiting"),
}


def dark_of() -> dict[str, str]:
    """The dark colour in place of each light one."""
    return dict((PAPERS, _INKS, _FAINT, _GRIDS, *COLOURS))


def contrast(one: str, other: str) -> float:
    """How well one colour stands out from another, 1 to 21.

    Source: WCAG 2.1, definition of contrast ratio.

    >>> round(contrast("#000000", "#ffffff"))
    21
    """
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
