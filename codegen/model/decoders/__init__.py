"""What decoder-only families say of themselves: configurations, rotary positions, names of tensors."""
