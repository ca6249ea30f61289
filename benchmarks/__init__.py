"""Programs that compare recipes, loops and runtimes. No part of the pipeline; they print a report and write nothing."""
