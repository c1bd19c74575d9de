"""Matrix products: the loops around the tiles, and the operations made of them."""
