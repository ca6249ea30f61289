import numpy as np
import pytest
import torch

from armdigits.program.cost import Disagreement, disagreements, mcnemar, powers, sqnr_db


def test_sqnr_is_the_ratio_of_powers_in_decibels() -> None:
    signal = np.array([3.0, 4.0], np.float32)
    assert sqnr_db(*powers(signal, signal * np.float32(1.1))) == 20, "a tenth of the amplitude"
    assert sqnr_db(*powers(signal, signal + np.array([0.05, 0.0], np.float32))) == 40


def test_sqnr_is_none_without_noise_or_without_signal() -> None:
    ones, zeros = np.ones(3, np.float32), np.zeros(3, np.float32)
    assert sqnr_db(*powers(ones, ones)) is None
    assert sqnr_db(*powers(zeros, ones)) is None


def test_disagreements_are_the_images_with_different_predictions() -> None:
    fp32, int8 = torch.eye(10)[[1, 2, 3, 4]], torch.eye(10)[[1, 7, 3, 5]]
    assert disagreements(fp32, int8, torch.tensor([0, 2, 3, 6])) == [(1, 2, 2, 7), (3, 6, 4, 5)]


def rows(fp32_right: int, int8_right: int, neither: int = 0) -> list[Disagreement]:
    kinds = [Disagreement(0, 1, 1, 2)] * fp32_right + [Disagreement(0, 1, 2, 1)] * int8_right
    return kinds + [Disagreement(0, 1, 2, 3)] * neither


@pytest.mark.parametrize(
    ("fp32_right", "int8_right", "p_value"),
    [
        (5, 0, 2 / 2**5),
        (0, 5, 2 / 2**5),
        (7, 3, 2 * (1 + 10 + 45 + 120) / 2**10),
        (4, 4, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemars_p_value_is_that_of_fair_coin_tosses(fp32_right: int, int8_right: int, p_value: float) -> None:
    figures = mcnemar(rows(fp32_right, int8_right, neither=2))
    assert figures["p_value"] == pytest.approx(p_value, abs=1e-6)
    assert figures["count"] == fp32_right + int8_right + 2


def test_a_large_one_sided_difference_is_significant() -> None:
    assert mcnemar(rows(30, 5))["p_value"] < 0.001
