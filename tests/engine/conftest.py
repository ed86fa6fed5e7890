import lckd_mm  # noqa: F401
