"""The report: one HTML page of runs and studies, and figures for a paper."""
