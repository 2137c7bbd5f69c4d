"""The colours of the drawn scenes, in linear RGB."""

import numpy as np


def _linear(code: str) -> tuple[float, float, float]:
    """The light of an sRGB colour written in hexadecimal (IEC 61966-2-1)."""
    curve = [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in curve)
    return red, green, blue


_ROWS = """\
4f8fd0 dcebf5 d9cfba b9aa8e fff1d6
5d6fa3 ffd9a8 c9a98a a37e63 ffd09a
8f86b8 fbd5cf d8bfc0 b39aa4 ffdcc8
6fb3b0 e6f3e6 bccbb0 8fa88c fff6dc
9aa8b5 e4e8ea c4c4c0 9a9c9a f4f2ee
2f3d6e c59ec4 8d87ad 68628f ffcfe0
6aa0bf f5e2c0 e3bd8c c79562 fff0cf
7fb0d8 f2f6fa e6ebf0 c3cedb fff4e6
3a5766 b9d3d6 7f969a 5a7278 ffeedd
5a9bd4 e9f2dc 9dbb6d 7da055 fff3cf
"""
_PAINTS = """\
e4572e f3a712 f6d55c 29a19c 2e86ab 5b5f97 a23b72
e56b6f 6a994e f5efe0 3d405b ffb5a7 8ecae6 9b5de5
"""

THEMES = np.array([[_linear(code) for code in row.split()] for row in _ROWS.splitlines()], np.float32)
"""Zenith, horizon, lighter and darker ground, sun: float32 [themes, 5, 3]."""

PAINTS = [_linear(code) for code in _PAINTS.split()]
"""The colours of solids."""
