"""Non-linear functions as short Fourier series: what one masked opening evaluates, and on which range."""
