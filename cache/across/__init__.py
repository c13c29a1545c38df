"""State shared by the processes of a machine: locks, single flight, generations, remembered failures."""
