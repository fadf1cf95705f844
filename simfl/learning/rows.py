"""Convolutions over rows of pixels, in compiled code: no im2col.

With the batch innermost, one row of an image is contiguous, and so is the same row from a pixel
further on. A row of the kernel is then a few taps on one long vector: loaded once, used for two
output channels, and added up in registers. What a model gets depends on nothing beside it.

All arrays are float32 and contiguous: images (channels, height, width x batch), weights (out, in,
side, side) with sides of 3 or 5.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit

Array = np.ndarray[Any, np.dtype[np.float32]]

_compiled: Final = njit(fastmath=True, cache=True, nogil=True)
_inlined: Final = njit(fastmath=True, inline="always")


@_inlined
def _add_5(r: Array, t: Array, s: Array, n: int, b: int, u: Array, v: Array) -> None:
    """Five taps on a row, added to a row of each of two channels."""
    s0, s1, s2, s3, s4 = (
        s[:n],
        s[b : b + n],
        s[2 * b : 2 * b + n],
        s[3 * b : 3 * b + n],
        s[4 * b : 4 * b + n],
    )
    u0, u1, u2, u3, u4 = u[0], u[1], u[2], u[3], u[4]
    v0, v1, v2, v3, v4 = v[0], v[1], v[2], v[3], v[4]
    for q in range(n):
        a, c, d, e, f = s0[q], s1[q], s2[q], s3[q], s4[q]
        r[q] += u0 * a + u1 * c + u2 * d + u3 * e + u4 * f
        t[q] += v0 * a + v1 * c + v2 * d + v3 * e + v4 * f


@_inlined
def _add_3(r: Array, t: Array, s: Array, n: int, b: int, u: Array, v: Array) -> None:
    """Three taps on a row, added to a row of each of two channels."""
    s0, s1, s2 = s[:n], s[b : b + n], s[2 * b : 2 * b + n]
    u0, u1, u2 = u[0], u[1], u[2]
    v0, v1, v2 = v[0], v[1], v[2]
    for q in range(n):
        a, c, d = s0[q], s1[q], s2[q]
        r[q] += u0 * a + u1 * c + u2 * d
        t[q] += v0 * a + v1 * c + v2 * d


@_compiled
def forward(x: Array, weight: Array, bias: Array, batch: int, out: Array) -> None:
    """Convolve padded images ``x``; ``out`` is (out, height, width x batch), and set."""
    outs, ins, side, _ = weight.shape
    height, n = out.shape[1], out.shape[2]
    spare = np.empty(n, np.float32)
    for y in range(height):
        for o in range(0, outs, 2):
            last = o + 1 == outs
            p = o if last else o + 1
            one = out[o, y]
            other = spare if last else out[p, y]
            one[:] = bias[o]
            other[:] = bias[p]
            for c in range(ins):
                for i in range(side):
                    row, u, v = x[c, y + i], weight[o, c, i], weight[p, c, i]
                    if side == 5:
                        _add_5(one, other, row, n, batch, u, v)
                    else:
                        _add_3(one, other, row, n, batch, u, v)


@_compiled
def by_input(g: Array, weight: Array, batch: int, out: Array) -> None:
    """The gradient by the padded images.

    Args:
        g: the gradient by the output, with side - 1 pixels of zeros at both ends of each row.
        weight: the convolution's weights.
        batch: samples.
        out: (in, height, width x batch); set.
    """
    outs, ins, side, _ = weight.shape
    height, n = g.shape[1], out.shape[2]
    spare, flipped = np.empty(n, np.float32), np.empty((2, side), np.float32)
    out[:] = 0
    for o in range(outs):
        for i in range(side):
            for c in range(0, ins, 2):
                last = c + 1 == ins
                d = c if last else c + 1
                for j in range(side):
                    flipped[0, j] = weight[o, c, i, side - 1 - j]
                    flipped[1, j] = weight[o, d, i, side - 1 - j]
                for y in range(height):
                    one = out[c, y + i]
                    other = spare if last else out[d, y + i]
                    if side == 5:
                        _add_5(one, other, g[o, y], n, batch, flipped[0], flipped[1])
                    else:
                        _add_3(one, other, g[o, y], n, batch, flipped[0], flipped[1])


@_inlined
def _dots_5(g: Array, h: Array, s: Array, n: int, b: int, into: Array, also: Array) -> None:
    """Rows of two channels times another from five places."""
    s0, s1, s2, s3, s4 = (
        s[:n],
        s[b : b + n],
        s[2 * b : 2 * b + n],
        s[3 * b : 3 * b + n],
        s[4 * b : 4 * b + n],
    )
    t0 = t1 = t2 = t3 = t4 = np.float32(0)
    u0 = u1 = u2 = u3 = u4 = np.float32(0)
    for q in range(n):
        v, w = g[q], h[q]
        a, c, d, e, f = s0[q], s1[q], s2[q], s3[q], s4[q]
        t0 += v * a
        t1 += v * c
        t2 += v * d
        t3 += v * e
        t4 += v * f
        u0 += w * a
        u1 += w * c
        u2 += w * d
        u3 += w * e
        u4 += w * f
    into[0] += t0
    into[1] += t1
    into[2] += t2
    into[3] += t3
    into[4] += t4
    also[0] += u0
    also[1] += u1
    also[2] += u2
    also[3] += u3
    also[4] += u4


@_inlined
def _dots_3(g: Array, h: Array, s: Array, n: int, b: int, into: Array, also: Array) -> None:
    """Rows of two channels times another from three places."""
    s0, s1, s2 = s[:n], s[b : b + n], s[2 * b : 2 * b + n]
    t0 = t1 = t2 = np.float32(0)
    u0 = u1 = u2 = np.float32(0)
    for q in range(n):
        v, w = g[q], h[q]
        a, c, d = s0[q], s1[q], s2[q]
        t0 += v * a
        t1 += v * c
        t2 += v * d
        u0 += w * a
        u1 += w * c
        u2 += w * d
    into[0] += t0
    into[1] += t1
    into[2] += t2
    also[0] += u0
    also[1] += u1
    also[2] += u2


@_compiled
def by_weight(x: Array, g: Array, batch: int, out: Array) -> None:
    """The gradient by the weights; ``out`` is (out, in, side, side), and set."""
    outs, ins, side, _ = out.shape
    height, n = g.shape[1], g.shape[2]
    spare = np.empty(side, np.float32)
    out[:] = 0
    for o in range(0, outs, 2):
        last = o + 1 == outs
        p = o if last else o + 1
        for y in range(height):
            one, other = g[o, y], g[p, y]
            for c in range(ins):
                for i in range(side):
                    into = out[o, c, i]
                    also = spare if last else out[p, c, i]
                    if side == 5:
                        _dots_5(one, other, x[c, y + i], n, batch, into, also)
                    else:
                        _dots_3(one, other, x[c, y + i], n, batch, into, also)
