"""The actions of `imgmirror store`, one file for each kind."""
