"""Programs that compare recipes, loops and runtimes. No part of the pipeline; they write nothing but their report."""
