package interop

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// attester is a client that can sign an in-toto statement as it is.
type attester interface {
	client
	attest(in *instance, token, statement, bundle string) error
}

// TestAttest has the libraries that sign statements do so, each over the log's
// own way of recording a DSSE envelope, and has sigbox and sigstore-go judge
// them: the subject's file is verified, another file is refused.
func TestAttest(t *testing.T) {
	in := serveTLS(t)
	all := clients(t, in)
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "artifact"), "a release\n")
	changed := write(t, filepath.Join(dir, "changed"), "a changed release\n")
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	statement := write(t, filepath.Join(dir, "statement.json"), fmt.Sprintf(
		`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"artifact","digest":{"sha256":"%x"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{"buildDefinition":{"buildType":"https://example.com/build","externalParameters":{}},"runDetails":{"builder":{"id":"https://example.com/builder"}}}}`,
		sha256.Sum256(content)))
	verifiers := make(map[string]client)
	for _, c := range all {
		if err := c.trust(in); err != nil {
			t.Fatalf("%s does not trust the instance: %v", c.name(), err)
		}
		verifiers[c.name()] = c
	}
	for _, c := range all {
		a, ok := c.(attester)
		if !ok {
			continue
		}
		bundle := filepath.Join(dir, a.name()+".sigstore.json")
		if err := a.attest(in, in.token(t), statement, bundle); err != nil {
			t.Errorf("%s does not attest: %v", a.name(), err)
			continue
		}
		for _, name := range []string{"sigbox", "sigstore-go"} {
			v := verifiers[name]
			if err := v.verify(in, file, bundle, email, in.issuer); err != nil {
				t.Errorf("%s refuses the statement that %s signed: %v", name, a.name(), err)
			}
			if err := v.verify(in, changed, bundle, email, in.issuer); !refused(err) {
				t.Errorf("%s: want a file that the statement does not name refused, got %v", name, err)
			}
		}
	}
}
