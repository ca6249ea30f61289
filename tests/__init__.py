"""The tests. They compute with the instructions that the stages use, so that both get the same bits."""

from armdigits.core.cpu import hold_to

hold_to("avx2")  # before torch is imported
