package entry_test

import (
	"bytes"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

// FuzzParseRequest: what is read has one leaf, which says the same, and posting
// it again gives it again.
func FuzzParseRequest(f *testing.F) {
	key := newKey(f, sigbox.ECDSAP256SHA256)
	e := sign(f, sigbox.ECDSAP256SHA256, key, "artifact")
	f.Add(entry.AppendRequest(nil, e))
	e.PublicKey, e.Certificate = nil, certificate(f, key, 0)
	f.Add(entry.AppendRequest(nil, e))
	dsse, _ := dsseRequest(f, key, "text/plain", "payload")
	f.Add([]byte(dsse))
	f.Add([]byte(`{"hashed_rekord_request_v002":{"digest":"","signature":{"verifier":{"key_details":8}}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := entry.ParseRequest(body)
		if err != nil {
			return
		}
		_ = entry.Verify(e) // must not panic
		leaf, err := entry.Leaf(e)
		if err != nil {
			return
		}
		if !bytes.Equal(canonicalize(t, leaf), leaf) {
			t.Fatalf("not canonical: %s", leaf)
		}
		again, err := entry.ParseRequest(entry.AppendRequest(nil, e))
		if err != nil {
			t.Fatal(err)
		}
		same(t, e, again)
		b, err := entry.ParseBody(leaf)
		if err != nil {
			t.Fatalf("%v: %s", err, leaf)
		}
		usable(t, b)
	})
}

// FuzzParseBody: what is read is JSON of that kind, which encoding/json says too.
func FuzzParseBody(f *testing.F) {
	for _, text := range bodies() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		b, err := entry.ParseBody(body)
		if _, signed, err2 := entry.VerifyLogged(body); signed != (err2 == nil && b.Kind == entry.KindHashedRekord) || err2 == nil && err != nil {
			t.Fatalf("parsed: %v, verified: %v, signed: %v", err, err2, signed)
		}
		if err != nil {
			return
		}
		usable(t, b)
		var other struct {
			Kind    string `json:"kind"`
			Version string `json:"apiVersion"`
			Snake   string `json:"api_version"`
		}
		if err := json.Unmarshal(body, &other); err != nil || other.Kind != b.Kind || other.Version+other.Snake != b.Version {
			t.Fatalf("found %s %s, encoding/json %+v, %v", b.Kind, b.Version, other, err)
		}
		again, err := entry.ParseBody(canonicalize(t, body))
		if other.Snake == "" && (err != nil || !reflect.DeepEqual(b, again)) {
			t.Fatalf("in canonical JSON it says something else: %v", err)
		}
	})
}

// FuzzParseLogEntry: what is read and written is read the same.
func FuzzParseLogEntry(f *testing.F) {
	le := sigbox.LogEntry{
		LogIndex: 7, LogID: make([]byte, 32), Kind: "hashedrekord", Version: "0.0.2", Body: []byte("{}"), SignedEntryTimestamp: []byte("set"),
		Inclusion: &sigbox.Inclusion{LogIndex: 7, TreeSize: 8, RootHash: make([]byte, 32), Hashes: [][]byte{make([]byte, 32)}, Checkpoint: "log.example\n"},
	}
	f.Add(entry.AppendLogEntry(nil, &le))
	f.Fuzz(func(t *testing.T, text []byte) {
		le, err := entry.ParseLogEntry(text)
		if err != nil {
			return
		}
		again, err := entry.ParseLogEntry(entry.AppendLogEntry(nil, &le))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(le, again, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Fatal(diff)
		}
		if !json.Valid(entry.SETPayload(&le)) {
			t.Fatal("what a promise is over is no JSON")
		}
	})
}

func BenchmarkParseRequest(b *testing.B) {
	e := sign(b, sigbox.ECDSAP256SHA256, newKey(b, sigbox.ECDSAP256SHA256), "artifact")
	body := entry.AppendRequest(nil, e)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := entry.ParseRequest(body); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLeaf(b *testing.B) {
	e := sign(b, sigbox.ECDSAP256SHA256, newKey(b, sigbox.ECDSAP256SHA256), "artifact")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := entry.Leaf(e); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	key := newKey(b, sigbox.ECDSAP256SHA256)
	e := sign(b, sigbox.ECDSAP256SHA256, key, "artifact")
	c := e
	c.PublicKey, c.Certificate = nil, certificate(b, key, 0)
	for name, e := range map[string]sigbox.Entry{"PublicKey": e, "Certificate": c} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := entry.Verify(e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkAppendLogEntry(b *testing.B) {
	le := sigbox.LogEntry{
		LogIndex: 7, LogID: make([]byte, 32), Kind: "hashedrekord", Version: "0.0.2", Body: make([]byte, 600),
		Inclusion: &sigbox.Inclusion{LogIndex: 7, TreeSize: 8, RootHash: make([]byte, 32), Checkpoint: string(bytes.Repeat([]byte("x\n"), 100))},
	}
	for range 20 {
		le.Inclusion.Hashes = append(le.Inclusion.Hashes, make([]byte, 32))
	}
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = entry.AppendLogEntry(dst[:0], &le)
	}
}
