"""One file for each grammar of wrapper addresses."""
