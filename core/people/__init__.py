"""Who the customers are and by which addresses they reach us."""
