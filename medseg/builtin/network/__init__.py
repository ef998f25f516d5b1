"""Built-in networks: U-Nets of MONAI."""
