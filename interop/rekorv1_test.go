package interop

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// v1Config writes the instance's signing config without the logs that are not v1.
func (in *instance) v1Config(t *testing.T, path string) string {
	t.Helper()
	text, err := in.targetFile("signing_config.v0.2.json")
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	var v1 []any
	for _, log := range config["rekorTlogUrls"].([]any) {
		if log.(map[string]any)["majorApiVersion"] == float64(1) {
			v1 = append(v1, log)
		}
	}
	if len(v1) != 1 {
		t.Fatalf("the signing config has %d logs of v1: %s", len(v1), text)
	}
	config["rekorTlogUrls"] = v1
	if text, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	return write(t, path, string(text))
}

// kindOf gives the kind and version of a bundle's log entry, and whether it has the
// log's promise.
func kindOf(t *testing.T, bundle string) (kind string, promised bool) {
	t.Helper()
	text, err := os.ReadFile(bundle)
	if err != nil {
		t.Fatal(err)
	}
	var b struct {
		VerificationMaterial struct {
			TlogEntries []struct {
				KindVersion      struct{ Kind, Version string }
				InclusionPromise *struct{ SignedEntryTimestamp []byte }
			}
		}
	}
	if err := json.Unmarshal(text, &b); err != nil || len(b.VerificationMaterial.TlogEntries) != 1 {
		t.Fatalf("%v: %s", err, text)
	}
	e := b.VerificationMaterial.TlogEntries[0]
	return e.KindVersion.Kind + " " + e.KindVersion.Version, e.InclusionPromise != nil && len(e.InclusionPromise.SignedEntryTimestamp) > 0
}

// statementOf writes an in-toto statement of a file.
func statementOf(t *testing.T, path, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, path, fmt.Sprintf(
		`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"artifact","digest":{"sha256":"%x"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{"buildDefinition":{"buildType":"https://example.com/build","externalParameters":{}},"runDetails":{"builder":{"id":"https://example.com/builder"}}}}`,
		sha256.Sum256(content)))
}

// TestAttestV1: what v1 logs of envelopes is an entry of its own kind.
func TestAttestV1(t *testing.T) {
	in := serveTLS(t)
	all := clients(t, in)
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "artifact"), "a release\n")
	changed := write(t, filepath.Join(dir, "changed"), "a changed release\n")
	statement := statementOf(t, filepath.Join(dir, "statement.json"), file)
	config := in.v1Config(t, filepath.Join(dir, "signing_config.json"))
	for _, c := range all {
		if err := c.trust(in); err != nil {
			t.Fatalf("%s does not trust the instance: %v", c.name(), err)
		}
	}
	for _, c := range all {
		a, ok := c.(v1Client).v1(config).(attester)
		if !ok {
			continue
		}
		bundle := filepath.Join(dir, a.name()+".sigstore.json")
		if err := a.attest(in, in.token(t), statement, bundle); err != nil {
			t.Errorf("%s does not attest: %v", a.name(), err)
			continue
		}
		if kind, promised := kindOf(t, bundle); kind != "dsse 0.0.1" && kind != "intoto 0.0.2" || !promised {
			t.Errorf("%s logged a %s, with a promise: %v", a.name(), kind, promised)
		}
		for _, v := range all {
			if v.name() != "sigbox" && v.name() != "sigstore-go" {
				continue
			}
			if err := v.verify(in, file, bundle, email, in.issuer); err != nil {
				t.Errorf("%s refuses the statement that %s signed: %v", v.name(), a.name(), err)
			}
			if err := v.verify(in, changed, bundle, email, in.issuer); !refused(err) {
				t.Errorf("%s: want a file that the statement does not name refused, got %v", v.name(), err)
			}
		}
	}
}

// TestCosignBefore is cosign as it is used without a signing config, with addresses
// on the command line and the formats before bundles: it asks the log again when it
// verifies a signature that came without proof.
func TestCosignBefore(t *testing.T) {
	in := serve(t)
	c := cosignClient{binary: tools(t, "bin", "cosign"), home: t.TempDir()}
	if err := c.trust(in); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	file := write(t, filepath.Join(dir, "artifact"), "a release\n")
	changed := write(t, filepath.Join(dir, "changed"), "a changed release\n")
	predicate := write(t, filepath.Join(dir, "predicate"), `{"a":"b"}`)
	at := func(name string) string { return filepath.Join(dir, name) }
	sign := func(verb string, flags ...string) {
		t.Helper()
		if err := c.run(append([]string{
			verb, "--yes", "--use-signing-config=false", "--new-bundle-format=false", "--rekor-url", in.url, "--fulcio-url", in.url, "--identity-token", in.token(t),
		}, flags...)...); err != nil {
			t.Fatal(err)
		}
	}
	verify := func(verb string, flags ...string) error {
		return c.run(append([]string{verb, "--new-bundle-format=false", "--rekor-url", in.url, "--certificate-identity", email, "--certificate-oidc-issuer", in.issuer}, flags...)...)
	}
	judge := func(what string, verb string, flags ...string) {
		t.Helper()
		if err := verify(verb, append(flags, file)...); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if err := verify(verb, append(flags, changed)...); !refused(err) {
			t.Errorf("%s: want a changed file refused, got %v", what, err)
		}
	}
	sign("sign-blob", "--bundle", at("old.bundle"), file)
	judge("a bundle", "verify-blob", "--bundle", at("old.bundle"))
	sign("sign-blob", "--output-signature", at("sig"), "--output-certificate", at("cert"), file)
	judge("a signature and a certificate", "verify-blob", "--signature", at("sig"), "--certificate", at("cert"))
	sign("attest-blob", "--predicate", predicate, "--type", "https://example.com/p", "--bundle", at("att.bundle"), file)
	judge("an attestation", "verify-blob-attestation", "--type", "https://example.com/p", "--bundle", at("att.bundle"))
}

// rekorCLI runs rekor-cli and gives what it said.
func rekorCLI(t *testing.T, in *instance, home string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), tools(t, "bin", "rekor-cli"), append([]string{"--rekor_server", in.url}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+home)
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("rekor-cli %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return string(out), err
}

// signedWithKey writes a file, its signature, a DSSE envelope and the public key.
func signedWithKey(t *testing.T, dir string) (artifact, signature, envelope, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(message []byte) []byte {
		digest := sha256.Sum256(message)
		sig, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		return sig
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	artifact = write(t, filepath.Join(dir, "artifact"), "a release\n")
	payload, payloadType := []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[],"predicateType":"x"}`), "application/vnd.in-toto+json"
	pae := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(payloadType), payloadType, len(payload), payload)
	b64 := base64.StdEncoding.EncodeToString
	return artifact, write(t, filepath.Join(dir, "signature"), string(sign([]byte("a release\n")))),
		write(t, filepath.Join(dir, "envelope"), fmt.Sprintf(`{"payload":%q,"payloadType":%q,"signatures":[{"keyid":"","sig":%q}]}`, b64(payload), payloadType, b64(sign(pae)))),
		write(t, filepath.Join(dir, "public.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})))
}

// stamp gets a timestamp of a file from the instance.
func (in *instance) stamp(t *testing.T, path, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(content)
	query := fmt.Appendf(nil, `{"artifactHash":%q,"hashAlgorithm":"sha256","certificates":true,"nonce":7}`, base64.StdEncoding.EncodeToString(digest[:]))
	resp, err := http.Post(in.url+"/api/v1/timestamp", "application/json", bytes.NewReader(query))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode/100 != 2 {
		t.Fatalf("%d, %v: %s", resp.StatusCode, err, b)
	}
	return write(t, path, string(b))
}

// TestRekorCLI: every kind is uploaded, found and verified with rekor-cli, which
// checks promise, checkpoint and proof, and the consistency of what it saw before.
func TestRekorCLI(t *testing.T) {
	in := serve(t)
	home, dir := t.TempDir(), t.TempDir()
	artifact, signature, envelope, public := signedWithKey(t, dir)
	timestamp := in.stamp(t, filepath.Join(dir, "timestamp"), signature)
	content, err := os.ReadFile(artifact)
	if err != nil {
		t.Fatal(err)
	}
	must := func(says string, args ...string) string {
		t.Helper()
		out, err := rekorCLI(t, in, home, args...)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out, says) {
			t.Fatalf("rekor-cli %s: want %q, got\n%s", strings.Join(args, " "), says, out)
		}
		return out
	}
	must("Verification Successful", "loginfo")
	kinds := [][]string{
		{"--type", "hashedrekord", "--artifact-hash", fmt.Sprintf("%x", sha256.Sum256(content)), "--signature", signature, "--public-key", public, "--pki-format", "x509"},
		{"--type", "dsse", "--artifact", envelope, "--public-key", public, "--pki-format", "x509"},
		{"--type", "intoto:0.0.2", "--artifact", envelope, "--public-key", public, "--pki-format", "x509"},
		{"--type", "rfc3161", "--artifact", timestamp},
	}
	id := regexp.MustCompile(`[0-9a-f]{80}`)
	for i, kind := range kinds {
		created := must("Created entry at index", append([]string{"upload"}, kind...)...)
		must("Entry already exists", append([]string{"upload"}, kind...)...)
		must("Computed Root Hash", append([]string{"verify"}, kind...)...)
		byID := must("Index: ", "get", "--uuid", id.FindString(created))
		if byIndex := must("Index: ", "get", "--log-index", fmt.Sprint(i+1)); byIndex != byID {
			t.Errorf("by ID\n%s\nby index\n%s", byID, byIndex)
		}
		must("Verification Successful", "loginfo")
		must("Hashes: ", "logproof", "--first-size", "1", "--last-size", fmt.Sprint(i+2))
	}
	if out, err := rekorCLI(t, in, home, "get", "--log-index", "99"); err == nil {
		t.Errorf("an entry that is not there: %s", out)
	}
	if out, err := rekorCLI(t, in, home, "upload", "--type", "rfc3161", "--artifact", artifact); err == nil {
		t.Errorf("a timestamp that is none: %s", out)
	}
}
