# Prints how an installation of MP-SPDZ compiles and links: make -s -C <installation> -f <this file>.
include CONFIG
flags:
	$(info $(CFLAGS))
	$(info $(LDLIBS))
	@:
