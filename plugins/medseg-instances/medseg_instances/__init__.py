"""Instance heads for medseg: objects of one label told apart."""
