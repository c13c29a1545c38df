"""What a request target asks for: read once, admitted, negotiated."""
