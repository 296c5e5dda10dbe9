"""PyTorch as Keras's backend: every operation is called from Python."""

from __future__ import annotations

import contextlib

import torch

from modeltune.records import Json


class OnTorch:
    """PyTorch in this process."""

    modules = ("torch",)
    steps_eagerly = True

    def set_up(self, threads: int) -> None:
        """As ``Backend.set_up``."""
        torch.set_num_threads(threads)
        # Set for good by whatever it was first asked to compute in this process.
        with contextlib.suppress(RuntimeError):
            torch.set_num_interop_threads(threads)

    def threads(self) -> dict[str, Json]:
        """As ``Backend.threads``."""
        return {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()}

    def devices(self, cpu: str) -> list[str]:
        """As ``Backend.devices``."""
        if torch.cuda.is_available():
            names = (torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count()))
            return [f"GPU: {name}" for name in names]
        if torch.backends.mps.is_available():
            return ["GPU: Metal"]
        return [f"CPU: {cpu}"]

    def notes(self) -> list[str]:
        """As ``Backend.notes``."""
        return ["Python calls every operation of every step, of which none is compiled"]
