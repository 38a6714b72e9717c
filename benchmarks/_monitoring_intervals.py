"""Other intervals for the same estimate, beside which the product's was chosen.

Both are computed of X = g + xi/p (a - g), g the student's confidence, at the end of each block of exchanges.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_MOST_BET: Final = 0.5
_TIGHT_AT: Final = 10_000  # exchanges


def empirical_bernstein(x: Floats, lowest_probability: float, alpha: float) -> tuple[Floats, Floats]:
    """Lower and upper limits after each exchange.

    Waudby-Smith and Ramdas, arXiv 2010.09686, theorem 2: the predictable plug-in empirical Bernstein sequence, of X
    brought to [0, 1]. Holds at all times exactly.
    """
    least, width = 1 - 1 / lowest_probability, 2 / lowest_probability - 1
    y = (x - least) / width
    n = np.arange(1, len(y) + 1)
    mean = (0.5 + np.cumsum(y)) / (n + 1)
    variance = (0.25 + np.cumsum((y - mean) ** 2)) / (n + 1)
    before, spread = np.append(0.5, mean[:-1]), np.append(0.25, variance[:-1])
    bets = np.minimum(np.sqrt(2 * np.log(2 / alpha) / (spread * n * np.log1p(n))), _MOST_BET)
    costs = -np.log1p(-bets) - bets  # 4 psi_E; their v is 4 (y - mean)²
    total = np.cumsum(bets)
    centre = np.cumsum(bets * y) / total
    radius = (np.log(2 / alpha) + np.cumsum((y - before) ** 2 * costs)) / total
    return least + width * (centre - radius), least + width * (centre + radius)


def asymptotic(x: Floats, alpha: float) -> tuple[Floats, Floats]:
    """The same by Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, arXiv 2103.06476, theorem 2.2: asymptotic only."""
    n = np.arange(1, len(x) + 1)
    mean = np.cumsum(x) / n
    variance = np.maximum(np.cumsum(x**2) / n - mean**2, 1e-9)
    rho = np.sqrt((-2 * np.log(alpha) + np.log(-2 * np.log(alpha) + 1)) / _TIGHT_AT)
    inner = n * rho**2 + 1
    radius = np.sqrt(variance * 2 * inner / (n**2 * rho**2) * np.log(np.sqrt(inner) / alpha))
    return mean - radius, mean + radius
