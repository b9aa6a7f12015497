# Weir: everything a newcomer needs is a target here. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PREFIX  ?= /usr/local
DESTDIR ?=
PYTHON  := /usr/bin/python3
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
CARGO   := $(shell command -v cargo || echo cargo-is-missing)
# Where cargo puts what it builds. The demo and the tests take it as WEIR_BINARIES, which `env` carries through sudo.
BINARIES := $(or $(CARGO_TARGET_DIR),target)/release
# cargo builds as whoever calls; the test binaries run as root, since DPDK's and the lab's need it.
AS_ROOT := $(if $(SUDO),env CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER=sudo)

# What the build, the demo, the tests and the benchmark ask of Debian 12.
PACKAGES := gcc libc6-dev make pkg-config libclang-dev libdpdk-dev dpdk dpdk-dev \
            iproute2 ethtool iputils-ping iputils-arping iputils-tracepath traceroute mtr-tiny ndisc6 keepalived procps \
            tcpdump tshark iperf3 socat openvswitch-switch openvswitch-switch-dpdk python3-pytest python3-scapy

.PHONY: help deps rust build demo test fmt clippy unit e2e bench install clean

help: ## this list
	@awk -F':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

deps: ## installs the Debian packages that are missing (root; else prints the line to run)
	@missing=$$(for p in $(PACKAGES); do \
	    dpkg-query -W -f '$${db:Status-Status}\n' $$p 2>/dev/null | grep -qx installed || printf ' %s' $$p; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" != 0 ]; then \
	    echo "Packages are missing. Run this line, then make again:"; \
	    echo "  sudo sh -c 'apt-get update && apt-get install -y --no-install-recommends$$missing'"; exit 1; \
	fi; \
	echo "installing:$$missing"; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing

rust:
	@if ! command -v cargo >/dev/null; then \
	    echo "cargo is missing: Weir is built with Rust 1.93 or newer. Install it with rustup, then make again."; exit 1; \
	fi

build: deps rust ## builds weir, weirctl and weir-bench into target/release (CARGO_TARGET_DIR is honoured)
	$(CARGO) build --locked --release --workspace --bins

demo: build ## two tenants, VLAN <-> VXLAN, in network namespaces: no NIC, no hugepages, cleans up after itself
	$(SUDO) env WEIR_BINARIES='$(BINARIES)' demo/run

test: fmt clippy unit e2e ## everything that CI runs

fmt: rust ## is the code formatted as rustfmt wants it?
	$(CARGO) fmt --all --check

clippy: deps rust ## has clippy anything to say?
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

unit: deps rust ## unit, property and golden tests
	$(PYTHON) tests/golden/make.py --check
	$(AS_ROOT) $(CARGO) test --locked --workspace

e2e: build ## end-to-end tests with real peers in network namespaces (root)
	$(SUDO) env WEIR_BINARIES='$(BINARIES)' $(PYTHON) -m pytest -q -p no:cacheprovider --durations=5 tests/e2e

bench: build ## the benchmark's set beside dpdk-testpmd and Open vSwitch, some eight minutes; writes bench-results/
	$(SUDO) '$(BINARIES)/weir-bench' set

install: ## installs binaries, man pages, completion, unit and an example weir.toml, after `make build`
	@if [ ! -x '$(BINARIES)/weir' ]; then \
	    echo "$(BINARIES)/weir is missing: make build. If CARGO_TARGET_DIR is set, sudo drops it: sudo make install CARGO_TARGET_DIR=DIR"; \
	    exit 1; \
	fi
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/lib/systemd/system \
	    $(DESTDIR)$(PREFIX)/share/bash-completion/completions $(DESTDIR)/etc/weir
	install -m 755 $(foreach name,weir weirctl weir-bench,'$(BINARIES)/$(name)') $(DESTDIR)$(PREFIX)/bin
	'$(BINARIES)/weirctl' man $(DESTDIR)$(PREFIX)/share/man/man1
	'$(BINARIES)/weirctl' completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/weirctl
	sed 's|@PREFIX@|$(PREFIX)|' firmware/weir.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/weir.service
	[ -e $(DESTDIR)/etc/weir/weir.toml ] || install -m 644 firmware/docs/weir.toml $(DESTDIR)/etc/weir/weir.toml

clean: rust ## removes what the build and the benchmark made
	$(CARGO) clean
	rm -rf bench-results
