# Every target is one plain command; `make` alone lists them. A build from a tag
# carries its name; otherwise `comet -version` says devel and the commit.

GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
VERSION     ?= $(shell git describe --tags --exact-match 2>/dev/null)

.PHONY: help build run test fuzz chaos mutants bench lint cover clean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 10

build: ## put comet, web, message and gopush into bin/
	$(GO) build -trimpath -ldflags '-X gopush-cluster/internal/version.number=$(VERSION)' -o bin/ ./cmd/comet ./cmd/web ./cmd/message ./cmd/gopush

run: build ## run a whole cluster in one process, its data in ./data
	bin/gopush standalone

test: ## run everything: -race, real servers, fuzz targets and benchmarks in brief
	scripts/test.sh

fuzz: ## fuzz each target for FUZZTIME (default 1m)
	scripts/fuzz.sh $(or $(FUZZTIME),1m)

chaos: ## break a real cluster for DURATION (60s), by SEED, at RATE pushes a second (60); PLAN is mixed, failover or kills; RACE=0 is faster
	$(GO) test $(if $(filter 0,$(RACE)),,-race) -count=1 -timeout 0 -v -run '^TestChaos$$' ./internal/chaos -args -duration=$(or $(DURATION),60s) \
		-seed=$(or $(SEED),0) -rate=$(or $(RATE),60) -plan=$(or $(PLAN),mixed) -scale=$(or $(SCALE),100) $(if $(filter 0,$(RACE)),-norace)

mutants: ## break the code on purpose, one way at a time (scripts/mutants), and see make chaos find each
	scripts/mutants.sh

bench: ## run the Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

lint: ## gofmt, vet, staticcheck, govulncheck
	GO='$(GO)' STATICCHECK=$(STATICCHECK) GOVULNCHECK=$(GOVULNCHECK) scripts/lint.sh

cover: ## write coverage to coverage.out and print it by function
	$(GO) test -coverprofile=coverage.out -coverpkg=./... ./... && $(GO) tool cover -func=coverage.out

clean: ## remove what the other targets made, but no data
	rm -rf bin coverage.out
