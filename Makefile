# Every target with a ## text is listed by `make help`.

MODULE   := github.com/PitchConnect/fogispubsub
TOOL     := go tool -modfile=tools/go.mod
FUZZTIME ?= 30s
PAIRS    ?= 15
BASE     ?= $(shell git describe --tags --abbrev=0 2>/dev/null)

.PHONY: help test check fmt vet lint bench fuzz api apidiff cover

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

test: ## Run the tests; those of real programs skip where the program is missing
	go test ./...

check: fmt vet lint ## Everything that must pass before a change goes in, as CI runs it
	go test -race ./...

fmt: ## Fail on files that gofmt would change
	@unformatted=$$(git ls-files --cached --others --exclude-standard '*.go' | xargs gofmt -l); \
	if [ -n "$$unformatted" ]; then printf 'not formatted:\n%s\n' "$$unformatted"; exit 1; fi

vet: ## Run go vet
	go vet ./...

lint: ## Run staticcheck, as pinned in tools/go.mod
	$(TOOL) staticcheck ./...

bench: ## Compare with hand-written go-redis code on a real redis-server (PAIRS=15)
	go test -count=1 -timeout 30m -run '^(TestRatios|TestAdmin_load)$$' -v ./internal/bench -args -pairs=$(PAIRS)
	cd internal/bench/watermill && go test -count=1 -v . -args -pairs=$(PAIRS)

fuzz: ## Run each fuzz target for FUZZTIME=30s
	@set -e; for pkg in $$(go list ./...); do \
		names=$$(go test -list '^Fuzz' "$$pkg"); \
		for target in $$(echo "$$names" | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$pkg"; \
		done; \
	done

api: ## Write the public API's text to docs/api, for review in the diff
	go test -run '^TestAPI_is_the_text_in_docs$$' -count=1 . -update

apidiff: ## Name the incompatible changes of the API since BASE (the last tag)
	@test -n "$(BASE)" || { echo "no tag yet: give BASE=<commit>"; exit 1; }
	@set -e; old=$$(mktemp -d); trap 'rm -rf "$$old"' EXIT; \
	git archive "$(BASE)" | tar x -C "$$old"; \
	go build -modfile=tools/go.mod -o "$$old/apidiff" golang.org/x/exp/cmd/apidiff; \
	(cd "$$old" && ./apidiff -m -w old.api $(MODULE)); \
	"$$old/apidiff" -m -incompatible "$$old/old.api" $(MODULE)

cover: ## Measure test coverage; go tool cover -html=cover.out shows it
	go test -coverprofile=cover.out ./...
	@go tool cover -func=cover.out | tail -n 1
