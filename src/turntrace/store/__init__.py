"""Where received spans live: contracts, and the implementations that keep them."""
