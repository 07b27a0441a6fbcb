package bundle

import (
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
)

// TestCheck: a bundle that no parser has seen is held to the same.
func TestCheck(t *testing.T) {
	t.Parallel()
	logged := func(change func(le *sigbox.LogEntry)) func(b *sigbox.Bundle) {
		return func(b *sigbox.Bundle) { change(&b.Entries[0]) }
	}
	for name, c := range map[string]struct {
		change func(b *sigbox.Bundle)
		want   string // "" is no error
	}{
		"as read":              {func(*sigbox.Bundle) {}, ""},
		"version not stated":   {func(b *sigbox.Bundle) { b.Version = 0 }, ""},
		"version 0, no proof":  {func(b *sigbox.Bundle) { b.Version, b.Entries[0].Inclusion = 0, nil }, "no inclusion proof"},
		"version below zero":   {func(b *sigbox.Bundle) { b.Version = -1 }, "unsupported version"},
		"version of tomorrow":  {func(b *sigbox.Bundle) { b.Version = 4 }, "unsupported version"},
		"nothing signed":       {func(b *sigbox.Bundle) { b.Message = nil }, "no signature"},
		"both":                 {func(b *sigbox.Bundle) { b.Envelope = &sigbox.Envelope{} }, "both messageSignature and dsseEnvelope"},
		"no signature":         {func(b *sigbox.Bundle) { b.Message.Signature = nil }, "signature is empty"},
		"a digest cut short":   {func(b *sigbox.Bundle) { b.Message.Digest.Value = b.Message.Digest.Value[1:] }, "message digest of 31 bytes"},
		"an unsigned envelope": {func(b *sigbox.Bundle) { b.Message, b.Envelope = nil, &sigbox.Envelope{} }, "wrong number of signatures"},
		"an empty envelope's": {func(b *sigbox.Bundle) {
			b.Message, b.Envelope = nil, &sigbox.Envelope{Signatures: make([]sigbox.EnvelopeSignature, 1)}
		}, "envelope's signature is empty"},
		"two of an envelope": {func(b *sigbox.Bundle) {
			b.Message, b.Envelope = nil, &sigbox.Envelope{Signatures: make([]sigbox.EnvelopeSignature, 2)}
		}, "wrong number of signatures"},
		"an empty certificate": {func(b *sigbox.Bundle) { b.Certificates = append(b.Certificates, nil) }, "empty certificate"},
		"endless entries":      {func(b *sigbox.Bundle) { b.Entries = slices.Repeat(b.Entries, MaxEntries+1) }, "33 log entries"},
		"endless timestamps":   {func(b *sigbox.Bundle) { b.Timestamps = make([][]byte, MaxTimestamps+1) }, "33 timestamps"},
		"an entry twice":       {func(b *sigbox.Bundle) { b.Entries = slices.Repeat(b.Entries, 2) }, "the same one"},
		"one index in two logs": {func(b *sigbox.Bundle) {
			b.Entries = slices.Repeat(b.Entries, 2)
			b.Entries[1].LogID = []byte("another")
		}, ""},
		"two indices in one log": {func(b *sigbox.Bundle) { b.Entries = slices.Repeat(b.Entries, 2); b.Entries[1].LogIndex++ }, ""},
		"negative index":         {logged(func(le *sigbox.LogEntry) { le.LogIndex = -1 }), "negative log index"},
		"negative time":          {logged(func(le *sigbox.LogEntry) { le.IntegratedTime = -1 }), "integratedTime -1"},
		"after all time":         {logged(func(le *sigbox.LogEntry) { le.IntegratedTime = maxTime + 1 }), "integratedTime"},
		"no proof":               {logged(func(le *sigbox.LogEntry) { le.Inclusion = nil }), "no inclusion proof"},
		"no checkpoint":          {logged(func(le *sigbox.LogEntry) { le.Inclusion.Checkpoint = "" }), "no checkpoint"},
		"a leaf before the tree": {logged(func(le *sigbox.LogEntry) { le.Inclusion.LogIndex = -1 }), "index -1 in a tree"},
		"a leaf past the tree":   {logged(func(le *sigbox.LogEntry) { le.Inclusion.LogIndex = le.Inclusion.TreeSize }), "in a tree of 2"},
		"0.1 without promise":    {func(b *sigbox.Bundle) { b.Version, b.Entries[0].SignedEntryTimestamp = 1, nil }, "no inclusion promise"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, err := Parse([]byte(doc("0.3", cert+","+entries(head, proof, promise), message)))
			if err != nil {
				t.Fatal(err)
			}
			c.change(b)
			if err := Check(b); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("found %v, expected %q", err, c.want)
			}
		})
	}
}

// TestMediaTypes: both spellings, and nothing that is like them.
func TestMediaTypes(t *testing.T) {
	t.Parallel()
	for mediaType, want := range map[string]int{
		"application/vnd.dev.sigstore.bundle+json;version=0.1": 1,
		"application/vnd.dev.sigstore.bundle+json;version=0.2": 2,
		"application/vnd.dev.sigstore.bundle+json;version=0.3": 3,
		"application/vnd.dev.sigstore.bundle.v0.1+json":        1,
		"application/vnd.dev.sigstore.bundle.v0.2+json":        2,
		MediaTypeV03: 3,

		"application/vnd.dev.sigstore.bundle.v0.3":              0,
		"application/vnd.dev.sigstore.bundle.v0.4+json":         0,
		"application/vnd.dev.sigstore.bundle+json;version=0.3 ": 0,
		"application/vnd.dev.sigstore.bundle+json":              0,
		"0.3+json": 0,
		"":         0,
	} {
		if found, err := version(mediaType); found != want || (err == nil) != (want > 0) {
			t.Errorf("%s: found %d, %v", mediaType, found, err)
		}
	}
}

// TestHashAlgorithms: by name or number, and only those that are in use.
func TestHashAlgorithms(t *testing.T) {
	t.Parallel()
	good := doc("0.3", cert, message)
	for algorithm, want := range map[string]bool{`"SHA2_256"`: true, `1`: true, `"SHA2_384"`: false, `2`: false, `0`: false, `9`: false, `"sha256"`: false, `""`: false, `true`: false} {
		if err := parse([]byte(strings.Replace(good, `"SHA2_256"`, algorithm, 1))); (err == nil) != want {
			t.Errorf("%s: found %v", algorithm, err)
		}
	}
	if err := parseLines(make([]byte, MaxSize+1)); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many bytes", err)
	}
}
