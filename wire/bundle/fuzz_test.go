package bundle

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
)

// sameDigest also knows the digest that is none, which equals nothing.
var sameDigest = cmp.Comparer(func(a, b sigbox.Digest) bool { return a.Algorithm == b.Algorithm && bytes.Equal(a.Value, b.Value) })

// FuzzParse: what is read is JSON that encoding/json reads as the same, and what
// is written again as v0.3 is read the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(doc("0.1", chain+","+entries(head, promise), message)))
	f.Add([]byte(doc("0.2", chain+","+entries(head, proof), dsse)))
	f.Add([]byte(doc("0.3", cert+","+entries(head, proof, promise), message)))
	f.Add([]byte(doc("0.3", key+`,"timestampVerificationData":{"rfc3161Timestamps":[{"signedTimestamp":"MAA="}]}`, dsse)))
	f.Add([]byte(doc("0.3", cert, `"messageSignature":{"signature":"c2ln"}`)))
	f.Fuzz(func(t *testing.T, in []byte) {
		b, err := Parse(in)
		if err != nil {
			if k := sigbox.KindOf(err); k != sigbox.Invalid && k != sigbox.TooLarge {
				t.Fatalf("an error of kind %v: %v", k, err)
			}
			return
		}
		if err := Check(b); err != nil {
			t.Fatalf("read, and not to be read: %v", err)
		}
		var other struct {
			MediaType string `json:"mediaType"`
			Snake     string `json:"media_type"`
		}
		if err := json.Unmarshal(in, &other); err != nil || other.MediaType+other.Snake != b.MediaType {
			t.Fatalf("found %q, encoding/json %q, %v", b.MediaType, other.MediaType+other.Snake, err)
		}
		rewrite(t, b)
	})
}

// rewrite writes b as v0.3, unless it lacks what that demands, and reads it.
func rewrite(t *testing.T, b *sigbox.Bundle) {
	t.Helper()
	out, err := Append(nil, b)
	if err != nil {
		if b.Version == 3 {
			t.Fatalf("read but not written: %v", err)
		}
		return
	}
	again, err := Parse(out)
	if err != nil {
		t.Fatalf("written but not read: %v\n%s", err, out)
	}
	b.MediaType, b.Version = MediaTypeV03, 3
	if len(b.Certificates) > 0 {
		b.Certificates = b.Certificates[:1]
	}
	if len(b.Entries) == 0 {
		b.Entries = again.Entries
	}
	if diff := cmp.Diff(b, again, cmp.Comparer(bytes.Equal), sameDigest); diff != "" {
		t.Error(diff)
	}
}

// FuzzParseLines: lines are bundles, and nothing but bundles are lines.
func FuzzParseLines(f *testing.F) {
	one, two := doc("0.3", key, message), doc("0.1", chain+","+entries(head, promise), message)
	f.Add([]byte(one))
	f.Add([]byte("\n" + one + "\r\n \t\n" + two))
	f.Add([]byte(one + "\n{}\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		bundles, err := ParseLines(in)
		n, broken := 0, false
		for line := range bytes.Lines(in) {
			if len(bytes.TrimSpace(line)) == 0 {
				continue
			}
			b, lineErr := Parse(line)
			if broken = lineErr != nil; broken {
				break
			}
			if n < len(bundles) {
				if diff := cmp.Diff(b, bundles[n], sameDigest); diff != "" {
					t.Fatal(diff)
				}
			}
			n++
		}
		if (err == nil) != (!broken && n > 0 && n <= MaxLines) || err == nil && n != len(bundles) {
			t.Fatalf("%d lines are bundles, broken %v; found %d, %v", n, broken, len(bundles), err)
		}
	})
}
