"""What the processes of a machine share: locks, single flight, generations, remembered failures."""
