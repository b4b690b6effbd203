"""Where training wants its batches: in this machine's memory, or on a GPU, copied while a step runs."""

from typing import NamedTuple

import torch

from pipeline.batches.collate import Batch, Buffers


class Sent(NamedTuple):
    """A batch on its way."""

    batch: Batch
    arrived: torch.cuda.Event | None
    """When the GPU has copied it; None where nothing is copied."""


class Destination:
    """The device that batches go to.

    A GPU copies on a stream of its own, so that a copy and the kernels of a step run at the same time. Its
    batches have memory of their own there; a batch for the CPU stays in the buffers that it was decoded into.

    Attributes:
        stream: that a GPU copies on; None where the device is the CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def send(self, buffers: Buffers) -> Sent:
        """Begin to copy a decoded batch, from any thread."""
        batch = buffers.batch()
        if self.stream is None:
            return Sent(batch, None)
        with torch.cuda.stream(self.stream):
            # A thread that waits for it sleeps, and leaves its processor to those that decode.
            arrived = torch.cuda.Event(blocking=True)
            moved = batch.moved(self.device)
            arrived.record(self.stream)
        return Sent(moved, arrived)

    def receive(self, sent: Sent) -> Batch:
        """The batch for the current stream, whose next kernels wait for the copy; the host does not."""
        if sent.arrived is not None:
            stream = torch.cuda.current_stream(self.device)
            stream.wait_event(sent.arrived)
            for tensor in (sent.batch.images, *sent.batch.targets, sent.batch.image_ids, sent.batch.keys):
                # Its memory is the copying stream's to use again, but not before this one is done with it.
                tensor.record_stream(stream)
        return sent.batch
