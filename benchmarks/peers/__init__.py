"""The same encoder layer on other engines: MP-SPDZ, SPU, CrypTen."""
