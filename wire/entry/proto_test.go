package entry_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rekorpb "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/entry"
)

// message makes a field that holds what the parts make together.
func message(number protowire.Number, parts ...[]byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), slices.Concat(parts...))
}

// text is a field of bytes or text.
func text(number protowire.Number, s string) []byte { return message(number, []byte(s)) }

// number is a field of a number.
func number(n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}

func TestEveryAlgorithmInProto(t *testing.T) {
	for _, k := range loggable {
		t.Run(k.String(), func(t *testing.T) {
			key := newKey(t, k)
			e := sign(t, k, key, "artifact")
			sameInProto(t, e)
			e.PublicKey, e.Certificate = nil, certificate(t, key, 0)
			sameInProto(t, e)
		})
	}
}

// sameInProto wants e from both forms of its request, and nothing in it that is the
// request's.
func sameInProto(t *testing.T, e sigbox.Entry) {
	t.Helper()
	body := entry.AppendRequestProto(nil, e)
	got, err := entry.ParseRequestProto(body)
	if err != nil {
		t.Fatal(err)
	}
	clear(body)
	same(t, e, got)
	other, err := entry.ParseRequest(entry.AppendRequest(nil, e))
	if err != nil {
		t.Fatal(err)
	}
	same(t, other, got)
}

// protoDSSERequest is dsseRequest in the binary form.
func protoDSSERequest(t testing.TB, body string) []byte {
	t.Helper()
	var m struct {
		DSSERequestV002 struct {
			Envelope struct {
				Payload     []byte
				PayloadType string
				Signatures  []struct{ Sig []byte }
			}
			Verifiers []struct{ X509Certificate struct{ RawBytes []byte } }
		}
	}
	if err := json.Unmarshal([]byte(body), &m); err != nil {
		t.Fatal(err)
	}
	r := m.DSSERequestV002
	return message(2,
		message(1, message(1, r.Envelope.Payload), text(2, r.Envelope.PayloadType), message(3, message(1, r.Envelope.Signatures[0].Sig), text(2, "key"))),
		message(2, message(2, message(1, r.Verifiers[0].X509Certificate.RawBytes)), number(3, uint64(sigbox.ECDSAP256SHA256))))
}

func TestDSSERequestInProto(t *testing.T) {
	text, pae := dsseRequest(t, newKey(t, sigbox.ECDSAP256SHA256), sigbox.InTotoPayloadType, `{"_type":"https://in-toto.io/Statement/v1"}`)
	want, err := entry.ParseRequest([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	body := protoDSSERequest(t, text)
	got, err := entry.ParseRequestProto(body)
	if err != nil {
		t.Fatal(err)
	}
	clear(body)
	same(t, want, got)
	if !bytes.Equal(got.Digest.Value, pae) || entry.Verify(got) != nil {
		t.Errorf("digest %s, expected the hash of the PAE", got.Digest)
	}
}

func TestRequestInProtoRefused(t *testing.T) {
	digest := message(1, make([]byte, 32))
	key := message(1, text(1, "DER"))
	certificate := message(2, text(1, "DER"))
	p256 := number(3, uint64(sigbox.ECDSAP256SHA256))
	content := text(1, "signature")
	hashed := func(verifier ...[]byte) []byte {
		return message(1, digest, message(2, content, message(2, verifier...)))
	}
	good := hashed(key, p256)
	if _, err := entry.ParseRequestProto(good); err != nil {
		t.Fatal(err)
	}
	verifier := message(2, certificate, p256)
	envelope := [][]byte{text(1, "payload"), text(2, "type"), message(3, text(1, "signature"))}
	dsse := func(parts ...[]byte) []byte { return message(2, message(1, parts...), verifier) }
	if _, err := entry.ParseRequestProto(dsse(envelope...)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		body []byte
		says string
	}{
		"nothing":                         {nil, "neither"},
		"an empty entry":                  {message(1), "public key or a certificate"},
		"both entries":                    {slices.Concat(good, dsse(envelope...)), "one entry"},
		"an entry twice":                  {slices.Concat(good, good), "stands twice"},
		"an unknown field":                {slices.Concat(good, text(3, "")), "unknown field 3"},
		"an unknown field within":         {message(1, digest, message(2, content, message(2, key, p256), number(7, 1))), "unknown field 7"},
		"a tag that is cut":               {append(slices.Clone(good), 0x80), "binary form"},
		"field 0":                         {append(slices.Clone(good), 0, 0), "unknown field 0"},
		"another wire type":               {number(1, 1), "wire type 0"},
		"a group":                         {[]byte{1<<3 | 3, 1<<3 | 4}, "wire type 3"},
		"a fixed number":                  {hashed(key, []byte{3<<3 | 5, 5, 0, 0, 0}), "wire type 5"},
		"details as bytes":                {hashed(key, text(3, "PKIX_ECDSA_P256_SHA_256")), "wire type 2"},
		"a length beyond the end":         {[]byte{1<<3 | 2, 100}, "binary form"},
		"a length beyond 64 bits":         {append([]byte{1<<3 | 2}, bytes.Repeat([]byte{255}, 10)...), "binary form"},
		"a number without end":            {hashed(key, []byte{3 << 3, 0x80}), "binary form"},
		"a length beyond its message":     {message(1, digest[:len(digest)-1]), "binary form"},
		"digest twice":                    {message(1, digest, digest, message(2, content, message(2, key, p256))), "digest stands twice"},
		"signature content twice":         {message(1, digest, message(2, content, content, message(2, key, p256))), "content stands twice"},
		"no signature":                    {message(1, digest), "public key or a certificate"},
		"an empty signature":              {message(1, digest, message(2, text(1, ""), message(2, key, p256))), "signature is missing"},
		"a short digest":                  {message(1, text(1, "short"), message(2, content, message(2, key, p256))), "5 bytes"},
		"key and certificate":             {hashed(key, certificate, p256), "not both"},
		"certificate and key":             {hashed(certificate, key, p256), "not both"},
		"key twice":                       {hashed(key, key, p256), "stands twice"},
		"a key without bytes":             {hashed(message(1), p256), "raw_bytes is missing"},
		"a key of no bytes":               {hashed(message(1, text(1, "")), p256), "raw_bytes is missing"},
		"no details":                      {hashed(key), "keyDetails are missing"},
		"details of 0":                    {hashed(key, number(3, 0)), "key details 0"},
		"details of no algorithm":         {hashed(key, number(3, 200)), "key details 200"},
		"details that wrap around":        {hashed(key, number(3, 1<<8+uint64(sigbox.ECDSAP256SHA256))), "key details 261"},
		"negative details":                {hashed(key, number(3, 1<<64-1)), "key details"},
		"an algorithm that is not logged": {hashed(key, number(3, uint64(sigbox.Ed25519))), "Ed25519ph"},
		"DSSE: no envelope":               {message(2, verifier), "one signature and one verifier"},
		"DSSE: no verifier":               {message(2, message(1, envelope...)), "one signature and one verifier"},
		"DSSE: two verifiers":             {message(2, message(1, envelope...), verifier, verifier), "more than 1 verifier"},
		"DSSE: two signatures":            {dsse(slices.Concat(envelope, envelope[2:])...), "more than 1 signature"},
		"DSSE: no signature":              {dsse(envelope[:2]...), "one signature and one verifier"},
		"DSSE: no type":                   {dsse(envelope[0], envelope[2]), "payloadType is missing"},
		"DSSE: a type that is no text":    {dsse(envelope[0], text(2, "\xff"), envelope[2]), "UTF-8"},
		"DSSE: a long type":               {dsse(envelope[0], text(2, strings.Repeat("x", 1025)), envelope[2]), "1025 bytes"},
		"DSSE: a long keyid":              {dsse(envelope[0], envelope[1], message(3, text(1, "signature"), text(2, strings.Repeat("x", 1025)))), "1025 bytes"},
		"DSSE: payload twice":             {dsse(envelope[0], envelope[0], envelope[1], envelope[2]), "payload stands twice"},
		"too large":                       {make([]byte, entry.MaxRequestSize+1), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := entry.ParseRequestProto(c.body)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("expected an error with %q, found %v", c.says, err)
			}
			if kind := sigbox.KindOf(err); kind != sigbox.Invalid && kind != sigbox.TooLarge {
				t.Errorf("of kind %v: %v", kind, err)
			}
		})
	}
}

// TestLogEntryInProto: generated code reads in the answer what JSON says.
func TestLogEntryInProto(t *testing.T) {
	hash := bytes.Repeat([]byte{7}, 32)
	full := sigbox.LogEntry{
		LogIndex: 1 << 40, LogID: hash, Kind: "hashedrekord", Version: "0.0.2", IntegratedTime: 1700000000, Body: []byte("{}"), SignedEntryTimestamp: []byte("set"),
		Inclusion: &sigbox.Inclusion{LogIndex: 1 << 40, TreeSize: 1<<40 + 1, RootHash: hash, Hashes: [][]byte{hash, make([]byte, 32)}, Checkpoint: "log.example\n…\n"},
	}
	for name, le := range map[string]sigbox.LogEntry{
		"every field": full,
		"the first":   {LogID: hash, Kind: "hashedrekord", Version: "0.0.2", Body: []byte("{}"), Inclusion: &sigbox.Inclusion{TreeSize: 1, RootHash: hash, Checkpoint: "log.example\n"}},
		"no proof":    {LogID: hash, Kind: "hashedrekord", Version: "0.0.2"},
	} {
		t.Run(name, func(t *testing.T) { checkLogEntryProto(t, le) })
	}
}

// checkLogEntryProto wants le back by way of generated code.
func checkLogEntryProto(t *testing.T, le sigbox.LogEntry) {
	t.Helper()
	var pb rekorpb.TransparencyLogEntry
	prefix := []byte("prefix")
	b := entry.AppendLogEntryProto(prefix, &le)
	b, ok := bytes.CutPrefix(b, prefix)
	if !ok {
		t.Fatal("it does not append")
	}
	if err := (proto.UnmarshalOptions{}).Unmarshal(b, &pb); err != nil {
		t.Fatal(err)
	}
	if again, err := (proto.MarshalOptions{Deterministic: true}).Marshal(&pb); err != nil || !bytes.Equal(b, again) {
		t.Fatalf("generated code writes\n%x, %v, not\n%x", again, err, b)
	}
	text, err := protojson.Marshal(&pb)
	if err != nil {
		t.Fatal(err)
	}
	got, err := entry.ParseLogEntry(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(le, got, cmp.Comparer(bytes.Equal)); diff != "" {
		t.Fatal(diff)
	}
}

func TestTileRequests(t *testing.T) {
	level, path, err := entry.ParseTileRequest(slices.Concat(number(1, 3), text(2, "x001/234.p/7")))
	if level != 3 || path != "x001/234.p/7" || err != nil {
		t.Errorf("found %d, %q, %v", level, path, err)
	}
	path, err = entry.ParseBundleRequest(text(1, "x001/234"))
	if path != "x001/234" || err != nil {
		t.Errorf("found %q, %v", path, err)
	}
	if err := entry.ParseEmpty(nil); err != nil {
		t.Error(err)
	}
	long := strings.Repeat("x000/", 20)
	for name, err := range map[string]error{
		"a level of text":      third(entry.ParseTileRequest(text(1, "3"))),
		"an index twice":       third(entry.ParseTileRequest(slices.Concat(text(2, "000"), text(2, "000")))),
		"a long index":         third(entry.ParseTileRequest(text(2, long))),
		"a bundle with level":  second(entry.ParseBundleRequest(slices.Concat(number(2, 3), text(1, "000")))),
		"a long bundle":        second(entry.ParseBundleRequest(text(1, long))),
		"a bundle in no UTF-8": second(entry.ParseBundleRequest(text(1, "\xff"))),
		"something in nothing": entry.ParseEmpty(text(1, "")),
		"a group in nothing":   entry.ParseEmpty([]byte{1<<3 | 3, 1<<3 | 4}),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	want := append(text(1, "text/plain"), text(2, "data")...)
	if got := entry.AppendHTTPBody(nil, "text/plain", []byte("data")); !bytes.Equal(got, want) {
		t.Errorf("found %x, expected %x", got, want)
	}
}

func third[A, B any](_ A, _ B, err error) error { return err }
func second[A any](_ A, err error) error        { return err }

// parseRequestProto is all that a log does with a request before it is logged.
func parseRequestProto(b []byte) error {
	e, err := entry.ParseRequestProto(b)
	if err != nil {
		return err
	}
	if err := entry.Verify(e); err != nil {
		return err
	}
	_, err = entry.Leaf(e)
	return err
}

// hostileProto has fields without number, at each depth, and the largest values.
func hostileProto() []hostile.Input {
	fill := func(name string, unit []byte, depth ...protowire.Number) hostile.Input {
		return hostile.Input{Name: name, Make: func() []byte {
			b := bytes.Repeat(unit, (entry.MaxRequestSize-64)/len(unit))
			for _, n := range slices.Backward(depth) {
				b = message(n, b)
			}
			return b
		}}
	}
	return []hostile.Input{
		fill("empty entries", message(1)), fill("empty verifiers", message(2), 2), fill("empty envelopes", message(1), 2),
		fill("empty signatures", message(3), 2, 1), fill("a payload", []byte{0}, 2, 1, 1), fill("a type", []byte{'x'}, 2, 1, 2),
		fill("a digest", []byte{0}, 1, 1), fill("a signature", []byte{0}, 1, 2, 1), fill("a key", []byte{0}, 1, 2, 2, 1, 1), fill("a certificate", []byte{0}, 1, 2, 2, 2, 1),
		fill("entries in entries", []byte{1<<3 | 2, 1}), fill("open groups", []byte{1<<3 | 3}), fill("open groups of an unknown field", []byte{9<<3 | 3}), fill("a long number", []byte{0xff}),
		hostile.Fill("larger than a request", "", "\x0a\x00", ""),
	}
}

func TestProtoLimits(t *testing.T) { hostile.Test(t, parseRequestProto, hostileProto()...) }

func BenchmarkHostileProto(b *testing.B) { hostile.Benchmark(b, parseRequestProto, hostileProto()...) }

// FuzzParseRequestProto: what is read is what JSON says of it, and written again it
// is the same.
func FuzzParseRequestProto(f *testing.F) {
	key := newKey(f, sigbox.ECDSAP256SHA256)
	e := sign(f, sigbox.ECDSAP256SHA256, key, "artifact")
	f.Add(entry.AppendRequestProto(nil, e))
	e.PublicKey, e.Certificate = nil, certificate(f, key, 0)
	f.Add(entry.AppendRequestProto(nil, e))
	dsse, _ := dsseRequest(f, key, "text/plain", "payload")
	f.Add(protoDSSERequest(f, dsse))
	f.Fuzz(func(t *testing.T, body []byte) {
		e, err := entry.ParseRequestProto(body)
		if err != nil {
			return
		}
		_ = entry.Verify(e) // must not panic
		again, err := entry.ParseRequestProto(entry.AppendRequestProto(nil, e))
		if err != nil {
			t.Fatal(err)
		}
		same(t, e, again)
		other, err := entry.ParseRequest(entry.AppendRequest(nil, e))
		if err != nil {
			t.Fatal(err)
		}
		same(t, e, other)
	})
}

// FuzzTileRequests: what is read is bounded text.
func FuzzTileRequests(f *testing.F) {
	f.Add(slices.Concat(number(1, 3), text(2, "x001/234.p/7")))
	f.Add(text(1, "x001/234"))
	f.Fuzz(func(t *testing.T, body []byte) {
		level, path, err := entry.ParseTileRequest(body)
		if err == nil && len(path) > 64 {
			t.Fatalf("%d, %q", level, path)
		}
		if path, err = entry.ParseBundleRequest(body); err == nil && len(path) > 64 {
			t.Fatalf("%q", path)
		}
		if err := entry.ParseEmpty(body); (err == nil) != (len(body) == 0) {
			t.Fatal(err)
		}
	})
}

// FuzzAppendLogEntryProto: generated code reads what was written.
func FuzzAppendLogEntryProto(f *testing.F) {
	le := sigbox.LogEntry{
		LogIndex: 7, LogID: make([]byte, 32), Kind: "hashedrekord", Version: "0.0.2", Body: []byte("{}"), SignedEntryTimestamp: []byte("set"),
		Inclusion: &sigbox.Inclusion{LogIndex: 7, TreeSize: 8, RootHash: make([]byte, 32), Hashes: [][]byte{make([]byte, 32)}, Checkpoint: "log.example\n"},
	}
	f.Add(entry.AppendLogEntry(nil, &le))
	f.Fuzz(func(t *testing.T, text []byte) {
		if le, err := entry.ParseLogEntry(text); err == nil {
			checkLogEntryProto(t, le)
		}
	})
}

func BenchmarkParseRequestProto(b *testing.B) {
	body := entry.AppendRequestProto(nil, sign(b, sigbox.ECDSAP256SHA256, newKey(b, sigbox.ECDSAP256SHA256), "artifact"))
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := entry.ParseRequestProto(body); err != nil {
			b.Fatal(err)
		}
	}
}
