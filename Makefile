# The words of this project. "make" alone lists them.
.DEFAULT_GOAL := help
.PHONY: help build demo test unit race interop bench fuzz lint

GO        ?= go
FUZZTIME  ?= 10s
BUILDFLAGS := -trimpath -ldflags='-s -w'

help: ## list these words
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 17

build: ## build bin/sigbox
	CGO_ENABLED=0 $(GO) build $(BUILDFLAGS) -o bin/sigbox ./cmd/sigbox

demo: ## watch the whole loop: a private Sigstore signs, verifies and refuses real files
	@scripts/need curl
	@scripts/demo.sh

test: lint race interop ## everything: linters, all tests with the race detector, the foreign clients

unit: ## the tests that need nothing but Go
	$(GO) test ./...

race: ## the same with the race detector, which needs a C compiler
	@scripts/need gcc libc6-dev
	CGO_ENABLED=1 $(GO) test -race ./...

interop: ## cosign, sigstore-go, sigstore-js and sigstore-python against an instance
	@scripts/need nodejs npm python3 python3-venv
	@interop/setup
	$(GO) -C interop test -count=1 ./...
	@interop/conformance/run

bench: ## the figures of the README, beside the peers
	@bench/run

fuzz: ## every fuzz target for FUZZTIME (10s)
	@scripts/fuzz $(FUZZTIME)

lint: ## go vet, golangci-lint and govulncheck, as pinned in tools/go.mod
	@scripts/lint
