module github.com/sigbox/sigbox/pkcs11

go 1.26.0

require (
	github.com/go-json-experiment/json v0.0.0-20260820222146-c27c302e5fc3
	github.com/miekg/pkcs11 v1.1.2
	github.com/sigbox/sigbox v0.0.0
)

require golang.org/x/crypto v0.58.0 // indirect

replace github.com/sigbox/sigbox => ../
