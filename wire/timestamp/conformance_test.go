package timestamp_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// conformanceDir is where the cases of the client conformance suite lie, beside
// the module; the test is skipped where they are not.
const conformanceDir = "../../../shared/conformance"

// conformanceCase has as much of a bundle and of a trust root as timestamps need.
type conformanceCase struct {
	VerificationMaterial struct {
		TimestampVerificationData struct {
			RFC3161Timestamps []struct {
				SignedTimestamp []byte `json:"signedTimestamp"`
			} `json:"rfc3161Timestamps"`
		} `json:"timestampVerificationData"`
	} `json:"verificationMaterial"`
	MessageSignature struct {
		Signature []byte `json:"signature"`
	} `json:"messageSignature"`
	DSSEEnvelope struct {
		Signatures []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	} `json:"dsseEnvelope"`
}

func (c conformanceCase) signature() []byte {
	if len(c.DSSEEnvelope.Signatures) > 0 {
		return c.DSSEEnvelope.Signatures[0].Sig
	}
	return c.MessageSignature.Signature
}

type conformanceRoot struct {
	TimestampAuthorities []struct {
		URI       string `json:"uri"`
		CertChain struct {
			Certificates []struct {
				RawBytes []byte `json:"rawBytes"`
			} `json:"certificates"`
		} `json:"certChain"`
		ValidFor struct {
			Start time.Time  `json:"start"`
			End   *time.Time `json:"end"`
		} `json:"validFor"`
	} `json:"timestampAuthorities"`
}

func (r conformanceRoot) authorities() (all []sigbox.CertificateAuthority) {
	for _, a := range r.TimestampAuthorities {
		ca := sigbox.CertificateAuthority{URI: a.URI, ValidFor: sigbox.TimeRange{Start: a.ValidFor.Start}}
		if a.ValidFor.End != nil {
			ca.ValidFor.End = *a.ValidFor.End
		}
		for _, c := range a.CertChain.Certificates {
			ca.Chain = append(ca.Chain, c.RawBytes)
		}
		all = append(all, ca)
	}
	return all
}

// Timestamps of the conformance suite: those whose fault is the timestamp are
// refused, all others are accepted, whatever else is wrong with their bundle.
// (A sound timestamp outside the signing certificate's validity is the bundle's
// fault.)
func TestConformance(t *testing.T) {
	refused := map[string]bool{
		"rekor2-timestamp-outside-tsa-cert-validity_fail":        true,
		"rekor2-timestamp-payload-mismatch_fail":                 true,
		"rekor2-timestamp-untrusted-tsa-with-embedded-cert_fail": true,
	}
	bundles, err := filepath.Glob(filepath.Join(conformanceDir, "bundle-verify", "*", "bundle.sigstore.json"))
	if err != nil || len(bundles) == 0 {
		t.Skip("the conformance cases are not beside the module:", conformanceDir)
	}
	for _, path := range bundles {
		name := filepath.Base(filepath.Dir(path))
		var c conformanceCase
		if b, err := os.ReadFile(path); err != nil || json.Unmarshal(b, &c) != nil {
			continue // some cases are about broken JSON
		}
		root := filepath.Join(filepath.Dir(path), "trusted_root.json")
		if _, err := os.Stat(root); err != nil {
			root = filepath.Join(conformanceDir, "public-good.trusted_root.json")
		}
		b, err := os.ReadFile(root)
		if err != nil {
			t.Fatal(err)
		}
		var r conformanceRoot
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		for _, ts := range c.VerificationMaterial.TimestampVerificationData.RFC3161Timestamps {
			t.Run(name, func(t *testing.T) {
				var failed []string
				for _, ca := range r.authorities() {
					at, err := timestamp.Verify(ts.SignedTimestamp, c.signature(), ca)
					if err == nil {
						t.Log("vouched for", at)
						if refused[name] {
							t.Error("accepted")
						}
						return
					}
					failed = append(failed, err.Error())
				}
				t.Log(strings.Join(failed, "; "))
				if !refused[name] {
					t.Error("refused")
				}
			})
		}
	}
}
