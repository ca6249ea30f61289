"""The tests and the campaign. They compute with the instructions of the stages, so that both get the same bits.

Git works in their own folders only, without the user's settings, also from a hook.
"""

import os

from armdigits.core import cpu, git

cpu.hold_to("avx2")  # before torch is imported
for name in git.local_variables():
    os.environ.pop(name, None)
os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
