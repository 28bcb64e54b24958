"""Train policies for rl_edge: algorithms, buffers and the fast trainer. No ROS in here."""

import os

# Read when NumPy is first imported. Matrices as small as those of one action gain nothing by a
# second thread, which would wait busily on the core that simulates.
os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
