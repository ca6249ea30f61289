import torch

from armdigits.models.teacher import Teacher


def test_the_teacher_has_156154_parameters():
    assert sum(tensor.numel() for tensor in Teacher().parameters()) == 156_154
    assert Teacher().eval()(torch.rand(3, 1, 28, 28)).shape == (3, 10)
