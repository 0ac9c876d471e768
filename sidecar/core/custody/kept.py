"""Chains of custody as they are looked at and kept, whatever the transcript is made of."""

from sidecar.core.custody.files.chain import Chain, KeptChain
from sidecar.core.custody.rows.chain import KeptRows, RowChain

AnyKeptChain = KeptChain | KeptRows
"""A chain as it outlives the sidecar."""

AnyChain = Chain | RowChain
"""A transcript, held against its chain."""
