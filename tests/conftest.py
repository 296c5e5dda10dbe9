"""Hypothesis draws the same examples in every run, so that a red law stays red."""

import hypothesis

hypothesis.settings.register_profile("laws", derandomize=True, deadline=None, max_examples=100)
hypothesis.settings.load_profile("laws")
