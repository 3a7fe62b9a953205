"""The clusters that Fleet knows: an inventory of them, and what selects among them."""
