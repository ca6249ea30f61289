import pytest
import torch

from armdigits.comparison import Disagreement, disagreements, mcnemar, sqnr_db


def test_the_ratio_of_signal_to_noise_is_that_of_their_powers_in_decibels():
    signal = torch.tensor([3.0, 4.0])
    assert sqnr_db(signal, signal * 1.1) == 20, "a tenth of the amplitude"
    assert sqnr_db(signal, signal + torch.tensor([0.05, 0.0])) == 40


def test_without_noise_or_signal_there_is_no_ratio():
    assert sqnr_db(torch.ones(3), torch.ones(3)) is None
    assert sqnr_db(torch.zeros(3), torch.ones(3)) is None


def test_the_disagreements_are_where_the_predictions_differ():
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
def test_mcnemars_test_is_that_of_fair_coins(fp32_right, int8_right, p_value):
    figures = mcnemar(rows(fp32_right, int8_right, neither=2))
    assert figures["p_value"] == pytest.approx(p_value, abs=1e-6)
    assert figures["count"] == fp32_right + int8_right + 2


def test_a_loss_that_is_real_does_not_look_like_noise():
    assert mcnemar(rows(30, 5))["p_value"] < 0.001
