"""Moving stores: packing them into archives and unpacking archives into them."""
