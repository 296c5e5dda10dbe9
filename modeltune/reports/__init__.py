"""Runs as text: every module here renders, none prints."""
