"""The package behind the stages and the command `armdigits`: one folder per concern, listed in README.md."""
