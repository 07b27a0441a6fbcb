# The words of this project. "make" alone lists them.
.DEFAULT_GOAL := help
.PHONY: help build pkcs11 demo demo-release test unit race mutate limits interop bench fuzz lint

GO        ?= go
FUZZTIME  ?= 10s
# Debian packages, installed where they are missing. OpenSSL is for the commands
# that docs/verification.md shows; without it their test is skipped.
RACE_NEEDS    := gcc libc6-dev openssl
INTEROP_NEEDS := gcc libc6-dev openssl softhsm2 nodejs npm python3 python3-venv default-jdk-headless maven cargo-web libssl-dev pkg-config
# Functions begin at each 16 bytes and not 32, as is amd64's custom: what a call touches
# of the program, and so its memory, is 0.3 MB less.
BUILDFLAGS := -trimpath -ldflags='-s -w -funcalign=16'

# One way of building for all but the race detector, so that Go's cache serves all.
export CGO_ENABLED := 0

help: ## list these words
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 17

build: ## build bin/sigbox
	$(GO) build $(BUILDFLAGS) -o bin/sigbox ./cmd/sigbox

pkcs11: ## build bin/sigstore-kms-pkcs11, which signs with hardware tokens (needs a C compiler)
	CGO_ENABLED=1 $(GO) -C pkcs11 build $(BUILDFLAGS) -o ../bin/sigstore-kms-pkcs11 .

demo: ## watch the whole loop: a private Sigstore signs, verifies and refuses real files
	@scripts/need curl
	@scripts/demo.sh

demo-release: ## watch a release with images: built, signed, promoted, verified, tampered with
	@scripts/need curl
	@scripts/demo-release.sh

test: ## everything: linters, all tests with the race detector, mutants, the foreign clients
	@scripts/need $(RACE_NEEDS) $(INTEROP_NEEDS)
	@$(MAKE) --no-print-directory lint
	@$(MAKE) --no-print-directory race
	@$(MAKE) --no-print-directory limits
	@$(MAKE) --no-print-directory mutate
	@$(MAKE) --no-print-directory interop

unit: ## the tests that need nothing but Go
	$(GO) test ./...

race: ## the same with the race detector, which needs a C compiler
	@scripts/need $(RACE_NEEDS)
	GORACE=atexit_sleep_ms=10 CGO_ENABLED=1 $(GO) test -race ./...

mutate: ## take out each check of the verification in turn, and see a test fail
	@scripts/mutate

limits: ## what hostile inputs of 16 MB may cost, all of them (under the race detector: a sample)
	$(GO) test -run Limits ./...

interop: ## cosign, sigstore-go, -js, -python, -java, -rs, policy-controller, Kyverno
	@scripts/need $(INTEROP_NEEDS)
	@interop/setup
	$(GO) -C interop test -count=1 -timeout 30m ./...
	CGO_ENABLED=1 $(GO) -C pkcs11 test -count=1 ./...
	@interop/conformance/run
	@sed -n '/<!-- interop: [a-z]* -->/,/<!-- interop: end -->/{/<!--/d;p}' README.md docs/clients.md

bench: ## the figures of the README, beside the peers
	@bench/run

fuzz: ## every fuzz target for FUZZTIME (10s)
	@scripts/fuzz $(FUZZTIME)

lint: ## go vet, golangci-lint and govulncheck, as pinned in tools/go.mod
	@scripts/need $(RACE_NEEDS)
	@scripts/lint
