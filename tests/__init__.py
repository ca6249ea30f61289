"""The tests and the campaign. Git works in their own folders only, without the user's settings, also from a hook."""

import os

from armdigits.core import git

for name in git.local_variables():
    os.environ.pop(name, None)
os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
