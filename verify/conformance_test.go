package verify_test

import (
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/trust"
)

// failures says at which step each case of the conformance suite must fail, so
// that none is refused for a reason that is not its own; 0 is the parser.
var failures = map[string]verify.Step{
	"bundle-empty-certificate-chain_fail":                    0,
	"bundle-malformed-json_fail":                             0,
	"bundle-negative-log-index_fail":                         0,
	"bundle-unknown-version_fail":                            0,
	"bundle-with-root-cert_fail":                             verify.StepCertificate,
	"checkpoint-wrong-roothash_fail":                         verify.StepCheckpoint,
	"dsse-mismatch-sig_fail":                                 verify.StepEntry,
	"integrated-time-in-future_fail":                         verify.StepCertificate,
	"intoto-expired-certificate_fail":                        verify.StepCertificate,
	"intoto-log-entry-mismatch_fail":                         verify.StepEntry,
	"intoto-set-outside-signing-cert-validity_fail":          verify.StepCertificate,
	"intoto-tsa-timestamp-outside-cert-validity_fail":        verify.StepCertificate,
	"invalid-checkpoint-signature_fail":                      verify.StepCheckpoint,
	"invalid-inclusion-proof_fail":                           0, // it lacks the checkpoint as well
	"managed-key-wrong-key_fail":                             0, // the key is none
	"message-digest-mismatch_fail":                           verify.StepArtifact,
	"rekor2-checkpoint-missing-log-signature_fail":           verify.StepCheckpoint,
	"rekor2-checkpoint-missing-origin_fail":                  verify.StepCheckpoint,
	"rekor2-checkpoint-missing-root-hash_fail":               verify.StepCheckpoint,
	"rekor2-checkpoint-missing-size_fail":                    verify.StepCheckpoint,
	"rekor2-checkpoint-no-matching-signature_fail":           verify.StepCheckpoint,
	"rekor2-dsse-invalid-sig_fail":                           verify.StepEntry,
	"rekor2-dsse-mismatch-envelope_fail":                     verify.StepEntry,
	"rekor2-no-inclusion-proof_fail":                         0,
	"rekor2-timestamp-outside-tsa-cert-validity_fail":        verify.StepTimestamp,
	"rekor2-timestamp-payload-mismatch_fail":                 verify.StepTimestamp,
	"rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail": verify.StepTime,
	"rekor2-timestamp-with-incorrect-time_fail":              verify.StepCertificate,
	"set-invalid-signature_fail":                             verify.StepPromise,
	"signature-mismatch_fail":                                verify.StepEntry,
	"wrong-hashedrekord-cert-and-sig_fail":                   verify.StepEntry,
	"wrong-hashedrekord-entry_fail":                          verify.StepEntry,
}

// suite finds the conformance suite's bundles, which stand beside the repository
// where there are any.
func suite(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../shared/conformance")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		t.Skip("no conformance cases at ../shared/conformance")
	}
	return dir
}

func TestConformance(t *testing.T) {
	t.Parallel()
	dir := suite(t)
	cases, err := os.ReadDir(filepath.Join(dir, "bundle-verify"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if !c.IsDir() {
			continue
		}
		t.Run(c.Name(), func(t *testing.T) {
			t.Parallel()
			artifact := read(t, dir, c.Name(), "artifact", "bundle-verify/a.txt")
			sum := sha256.Sum256(artifact)
			for name, a := range map[string]verify.Artifact{
				"path":   verify.Bytes(artifact),
				"digest": verify.Digest(sigbox.Digest{Algorithm: sigbox.SHA256, Value: sum[:]}),
			} {
				t.Run(name, func(t *testing.T) {
					verdict, err := judge(t, dir, c.Name(), a)
					if !strings.HasSuffix(c.Name(), "_fail") {
						if err != nil {
							t.Fatal(err)
						}
						t.Log(verdict.Steps())
						return
					}
					if err == nil {
						t.Fatal("verified")
					}
					want, known := failures[c.Name()]
					if found := verify.FailedStep(err); found != want || !known {
						t.Errorf("failed at %v, expected %v (known: %v): %v", found, want, known, err)
					}
				})
			}
		})
	}
}

// read reads a case's file, or the suite's.
func read(t *testing.T, dir, name, file, otherwise string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "bundle-verify", name, file))
	if errors.Is(err, os.ErrNotExist) && otherwise != "" {
		b, err = os.ReadFile(filepath.Join(dir, otherwise))
	}
	if err != nil && otherwise != "" {
		t.Fatal(err)
	}
	return b
}

func text(t *testing.T, dir, name, file, otherwise string) string {
	if s := strings.TrimSpace(string(read(t, dir, name, file, ""))); s != "" {
		return s
	}
	return otherwise
}

func judge(t *testing.T, dir, name string, a verify.Artifact) (*verify.Verdict, error) {
	t.Helper()
	root, err := trust.ParseRoot(read(t, dir, name, "trusted_root.json", "public-good.trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}})
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.Parse(read(t, dir, name, "bundle.sigstore.json", ""))
	if err != nil {
		return nil, err
	}
	if pem := read(t, dir, name, "key.pub", ""); pem != nil {
		key, err := verify.ParseKey(pem)
		if err != nil {
			return nil, err
		}
		return v.Verify(a, b, byKey(key))
	}
	return v.Verify(a, b, sigbox.Policy{Identities: []sigbox.IdentityMatch{{
		Subject: text(t, dir, name, "identity", "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"),
		Issuer:  text(t, dir, name, "issuer", "https://token.actions.githubusercontent.com"),
	}}, PredicateTypes: []string{sigbox.AnyPredicateType}})
}
