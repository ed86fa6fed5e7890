"""Logic of the analysis tools: comparison of runs, taps, gradients, padding, benchmarks, and what they share."""
