"""What goes wrong with sources and pictures: remembered, told apart, made up for."""
