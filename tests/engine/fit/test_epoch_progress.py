"""A fit tells how far it is, and no more often than somebody can look."""

from __future__ import annotations

from modeltune.engine.fit import epoch_progress


class Clock:
    """Time that goes when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_fit_tells_its_follower_a_few_times_a_second() -> None:
    epochs: list[int] = []
    clock = Clock()
    with epoch_progress.report_epochs_to(lambda epoch, value: epochs.append(epoch)):
        tell = epoch_progress.follower(clock)
        assert tell is not None
        for epoch in range(1, 101):
            clock.now = epoch * 0.018
            tell(epoch, 0.5)
    assert epochs == [12, 24, 36, 48, 60, 72, 84, 96]
    assert epoch_progress.follower() is None
