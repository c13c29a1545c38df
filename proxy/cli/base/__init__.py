"""What every command is made of: its parser, its signals, its look at the store."""
