"""Work on a Ray cluster, and the processes of this machine. This room alone imports ray."""
