"""Are counts those of a Poisson process? A fit, its quantiles, and the dispersion test."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pile_tools.errors import ParameterError, needs_extra

__all__ = ["PoissonFit", "fit_poisson"]


@dataclass(frozen=True, slots=True)
class PoissonFit:
    """``counts`` int64[n] of n equal intervals, taken as draws of one Poisson distribution.

    ``rate`` is its maximum-likelihood mean; ``theoretical`` and ``observed`` float64 and int64 [n] the Q–Q
    pairs at probabilities (i − ½) / n. ``dispersion`` is the variance (by n − 1) over the mean, 1 in
    expectation; (n − 1)·dispersion is χ² with n − 1 degrees of freedom in the limit (Fisher 1925), and
    ``p_value`` the two-sided probability of one as far out: 2·min(P(χ² ≤ x), P(χ² ≥ x)), 1 at most.
    dispersion and p_value are None where nothing was counted.
    """

    rate: float
    theoretical: npt.NDArray[np.float64]
    observed: npt.NDArray[np.int64]
    dispersion: float | None
    p_value: float | None


def fit_poisson(counts: npt.ArrayLike) -> PoissonFit:
    """Fit ``counts`` [n], n ≥ 2, of intervals of one length. ParameterError for fewer."""
    values = np.asarray(counts, np.int64)
    if len(values) < 2:
        raise ParameterError(
            f"{len(values)} whole interval(s): a fit needs two; choose shorter intervals with --every"
        )
    with needs_extra("a Poisson fit"):
        from scipy import stats
    n = len(values)
    rate = float(values.mean())
    theoretical = stats.poisson.ppf((np.arange(1, n + 1) - 0.5) / n, rate)
    if rate == 0:
        return PoissonFit(rate, np.zeros(n), np.sort(values), None, None)
    dispersion = float(values.var(ddof=1) / rate)
    statistic = (n - 1) * dispersion
    tail = min(stats.chi2.cdf(statistic, n - 1), stats.chi2.sf(statistic, n - 1))
    return PoissonFit(rate, theoretical, np.sort(values), dispersion, min(1.0, 2 * float(tail)))
