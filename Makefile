# The door: `make run` and `make test` on a bare Debian 12 or Ubuntu 24.04. Work is done by meson.build and tools/.
#   make              install what the build needs, build -> build/hearth
#   make run          the same, fetch a model (MODEL=name overrides), serve, open the chat page
#   make test         install what the tests need, run every test
#   make test-oracles install the heavy oracles, make the golden vectors again, compare
#   make ci           everything a change must pass (.ci/run)
#   make format       clang-format over the tree      make clean      remove build/
.NOTPARALLEL:
BUILD = build
MODEL =

all: build

build:
	@tools/install-deps build
	@tools/build $(BUILD)

run:
	@tools/install-deps run
	@tools/build $(BUILD)
	@$(if $(MODEL),$(BUILD)/hearth pull $(MODEL))
	@exec $(BUILD)/hearth up $(if $(MODEL),--model $(MODEL))

test:
	@tools/install-deps test
	@tools/build $(BUILD)
	@tests/run --build $(BUILD)

test-oracles:
	@tools/install-deps oracles
	@tools/build $(BUILD)
	@tests/run --build $(BUILD) --oracles

ci:
	@.ci/run

format:
	@tools/install-deps format
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

clean:
	rm -rf $(BUILD)

.PHONY: all build run test test-oracles ci format clean
