"""The command line: one module per verb, each with a function ``main``."""
