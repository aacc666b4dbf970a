"""The commands of the lanes this worker owns: group membership, placing, the loop of a lane."""
