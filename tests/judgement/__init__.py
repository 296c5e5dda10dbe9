"""Tests of ``modeltune.judgement``."""
