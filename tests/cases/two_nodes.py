"""A Ray cluster of a head without CPUs and two nodes of one CPU each, all on this machine, for a test.

Prints the head's address, then does what it reads from standard input, a word a line: `kill` ends one node as
a failing machine would, and `add` brings another. It ends itself and all nodes when the input ends.
"""

import sys

from ray.cluster_utils import Cluster

if __name__ == "__main__":
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    print(cluster.address, flush=True)
    try:
        for line in sys.stdin:
            if line.strip() == "kill":
                cluster.remove_node(nodes.pop(), allow_graceful=False)
            else:
                nodes.append(cluster.add_node(num_cpus=1))
            print("done", flush=True)
    finally:
        cluster.shutdown()
