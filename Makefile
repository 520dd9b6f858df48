# Thin door to Meson: `make`, `make run`, `make test`, `make test-oracles`. Everything else is in meson.build and tools/.
all: build
build:
	@tools/install-deps build
	@test -f build/build.ninja || meson setup build --buildtype=release >/dev/null
	@ninja -C build
.PHONY: all build
