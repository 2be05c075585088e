import numpy as np
import pytest
from scipy import stats

from pile_tools.errors import ParameterError
from pile_tools.studies.poisson import fit_poisson


def test_poisson_counts_pass_and_others_do_not() -> None:
    generator = np.random.RandomState(0)
    even = fit_poisson(generator.poisson(6.0, 400))
    assert even.p_value is not None
    assert even.p_value > 0.01
    assert even.dispersion == pytest.approx(1, abs=0.3)
    clumped = fit_poisson(generator.negative_binomial(2, 0.25, 400))
    assert clumped.p_value is not None
    assert clumped.p_value < 1e-6
    regular = fit_poisson([6, 6, 5, 6, 7, 6] * 20)
    assert regular.p_value is not None
    assert regular.p_value < 1e-6


def test_numbers_are_those_of_the_textbook() -> None:
    counts = [3, 0, 5, 2, 4]
    fit = fit_poisson(counts)
    assert fit.rate == np.mean(counts)
    assert fit.dispersion == pytest.approx(np.var(counts, ddof=1) / np.mean(counts))
    statistic = sum((count - 2.8) ** 2 for count in counts) / 2.8
    assert fit.p_value == pytest.approx(2 * stats.chi2(4).sf(statistic))
    assert fit.observed.tolist() == [0, 2, 3, 4, 5]
    assert fit.theoretical.tolist() == [stats.poisson(2.8).ppf(p) for p in (0.1, 0.3, 0.5, 0.7, 0.9)]


def test_what_has_no_test() -> None:
    nothing = fit_poisson([0, 0, 0])
    assert (nothing.rate, nothing.dispersion, nothing.p_value) == (0, None, None)
    with pytest.raises(ParameterError, match="a fit needs two"):
        fit_poisson([4])
