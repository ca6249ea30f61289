"""Comparisons of recipes, loops and runtimes, outside the pipeline. They print a report and leave no files."""
