"""TensorFlow as Keras's backend: the default, and the only one that trains whole epochs in a graph."""

from __future__ import annotations

import contextlib
from typing import Any

from modeltune.engine.backends.lazy_tensorflow import tf
from modeltune.records import Json


class OnTensorFlow:
    """TensorFlow in this process."""

    modules = ("tensorflow",)
    steps_eagerly = True

    def set_up(self, threads: int) -> None:
        """As ``Backend.set_up``."""
        # Set for good by whatever it was first asked to compute in this process.
        with contextlib.suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)
        _devices()

    def threads(self) -> dict[str, Json]:
        """As ``Backend.threads``."""
        threading = tf.config.threading
        return {
            "intra_op": threading.get_intra_op_parallelism_threads(),
            "inter_op": threading.get_inter_op_parallelism_threads(),
        }

    def devices(self, cpu: str) -> list[str]:
        """As ``Backend.devices``."""
        named = []
        for device in _devices():
            details = tf.config.experimental.get_device_details(device)
            named.append(f"{device.device_type}: {details.get('device_name') or cpu}")
        return named

    def notes(self) -> list[str]:
        """As ``Backend.notes``."""
        return []


def _devices() -> list[Any]:
    """Return its GPUs, or the CPU."""
    return list(tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU"))
