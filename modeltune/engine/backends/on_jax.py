"""JAX as Keras's backend: XLA compiles the steps of every model when its first batch is met."""

from __future__ import annotations

import os

from modeltune.records import Json

SIZE = "PJRT_NPROC"
"""The variable of XLA with the number of its threads on the CPU, read when it first computes."""

FLAGS, ONE_THREAD = "XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false"
"""The variable of XLA's flags, and the flag that has one thread compute an operation."""

_threads: list[int] = []
"""With how many threads JAX computes in this process, as far as it was told; it is told once."""


class OnJax:
    """JAX in this process."""

    modules = ("jax", "jaxlib")
    steps_eagerly = False

    def set_up(self, threads: int) -> None:
        """As ``Backend.set_up``: JAX is told by variables of the environment, which are left as they were."""
        import jax
        from jax._src import xla_bridge  # only there is told whether it has begun

        begun = getattr(xla_bridge, "backends_are_initialized", None)
        if begun is None or begun():
            return
        before = {name: os.environ.get(name) for name in (SIZE, FLAGS)}
        os.environ.setdefault(SIZE, str(threads))
        _threads.append(int(os.environ[SIZE]))
        if threads == 1:
            os.environ[FLAGS] = f"{before[FLAGS] or ''} {ONE_THREAD}".strip()
        jax.devices()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def threads(self) -> dict[str, Json]:
        """As ``Backend.threads``."""
        return {"intra_op": _threads[0] if _threads else None}

    def devices(self, cpu: str) -> list[str]:
        """As ``Backend.devices``."""
        import jax

        return [
            f"{device.platform.upper()}: {cpu if device.platform == 'cpu' else device.device_kind}"
            for device in jax.devices()
        ]

    def notes(self) -> list[str]:
        """As ``Backend.notes``."""
        return ["XLA compiles the steps of every model anew, a second or more each"]
