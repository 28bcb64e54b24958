"""The faults, kind by kind, in the order in which they are run.

Each is a function that puts a fault into a running loop and says what happened. A fault that does
not go as expected raises `FaultFailedError`. Beside what its row says, each one is expected to
leave no action outside its limits, no transition doubled, and the loop running with the processes
that it did not concern.
"""

from rl_edge_experiments.faults.disks import DISK_FAULTS
from rl_edge_experiments.faults.floods import FLOOD_FAULTS
from rl_edge_experiments.faults.graph import GRAPH_FAULTS
from rl_edge_experiments.faults.impostors import IMPOSTOR_FAULTS
from rl_edge_experiments.faults.memory import MEMORY_FAULTS
from rl_edge_experiments.faults.processes import PROCESS_FAULTS
from rl_edge_experiments.faults.recorder import RECORDER_FAULTS
from rl_edge_experiments.faults.swaps import SWAP_FAULTS

FAULTS = (
    *PROCESS_FAULTS,
    *GRAPH_FAULTS,
    *IMPOSTOR_FAULTS,
    *FLOOD_FAULTS,
    *SWAP_FAULTS,
    *MEMORY_FAULTS,
    *RECORDER_FAULTS,
    *DISK_FAULTS,
)
