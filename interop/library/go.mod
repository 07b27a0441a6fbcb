// A program outside of sigbox's module, as its users write them. A program of
// yours does without the replacement.
module example.com/verify

go 1.26.0

require github.com/sigbox/sigbox v0.0.0

require (
	github.com/go-json-experiment/json v0.0.0-20260820222146-c27c302e5fc3 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/mod v0.42.0 // indirect
)

replace github.com/sigbox/sigbox => ../..
