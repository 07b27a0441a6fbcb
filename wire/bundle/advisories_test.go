package bundle

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
)

// cosign GHSA-vfp6-jrw2-99g9: attestations without end were read and kept.
func TestGHSA_vfp6_jrw2_99g9(t *testing.T) {
	t.Parallel()
	one := doc("0.3", key, dsse) + "\n"
	if _, err := ParseLines([]byte(strings.Repeat(one, MaxLines))); err != nil {
		t.Error(err)
	}
	if _, err := ParseLines([]byte(strings.Repeat(one, MaxLines+1))); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many bundles", err)
	}
}

// cosign GHSA-88jx-383q-w4qc: an attachment of any size was taken into memory.
func TestGHSA_88jx_383q_w4qc(t *testing.T) {
	t.Parallel()
	huge := make([]byte, MaxSize+1)
	if _, err := Parse(huge); sigbox.KindOf(err) != sigbox.TooLarge || !strings.Contains(err.Error(), "at most") {
		t.Errorf("found %v, expected too many bytes", err)
	}
	if _, err := ParseLines(huge); sigbox.KindOf(err) != sigbox.TooLarge || !strings.Contains(err.Error(), "bundles of") {
		t.Errorf("lines: found %v, expected too many bytes", err)
	}
}

// cosign GHSA-95pr-fxf5-86gv: as much was allocated as somebody claimed that there
// was. Here a list grows by what is there, and no further than it may.
func TestGHSA_95pr_fxf5_86gv(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]string{
		"certificates": doc("0.2", `"x509CertificateChain":{"certificates":[`+strings.Repeat(`{"rawBytes":"AQID"},`, maxCertificates)+`{"rawBytes":"AQID"}]}`, message),
		"timestamps":   doc("0.3", cert+`,"timestampVerificationData":{"rfc3161Timestamps":[`+strings.Repeat(`{"signedTimestamp":"MAA="},`, MaxTimestamps)+`{"signedTimestamp":"MAA="}]}`, message),
		"signatures":   strings.Replace(doc("0.3", cert, dsse), `[{"sig"`, `[`+strings.Repeat(`{"sig":"c2ln"},`, 99)+`{"sig"`, 1),
	} {
		if _, err := Parse([]byte(in)); sigbox.KindOf(err) != sigbox.TooLarge || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s: found %v, expected too many", name, err)
		}
	}
}
