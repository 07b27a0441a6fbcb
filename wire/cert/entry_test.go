package cert_test

import (
	"bytes"
	"crypto/sha256"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

func entries() []cert.Entry {
	return []cert.Entry{
		{Timestamp: 1700000001234, Certificate: []byte("a certificate"), Chain: [][32]byte{sha256.Sum256([]byte("root"))}},
		{
			Timestamp: 1700000001235, Precert: true, Certificate: []byte("a TBS"), Precertificate: []byte("a precertificate"),
			IssuerKeyHash: sha256.Sum256([]byte("key")), Extensions: []byte{0, 0, 5, 0, 0, 0, 0, 1},
			Chain: [][32]byte{sha256.Sum256([]byte("intermediate")), sha256.Sum256([]byte("root"))},
		},
		{Certificate: []byte{1}},
	}
}

func TestTileLeafRoundTrip(t *testing.T) {
	var tile []byte
	for _, e := range entries() {
		tile = e.AppendTileLeaf(tile)
	}
	split, err := cert.SplitTile(tile)
	if err != nil {
		t.Fatal(err)
	}
	if len(split) != len(entries()) || !bytes.Equal(bytes.Join(split, nil), tile) {
		t.Fatalf("split into %d", len(split))
	}
	for i, want := range entries() {
		got, rest, err := cert.ParseTileLeaf(split[i])
		if err != nil || len(rest) != 0 {
			t.Fatal(err, len(rest))
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Error(diff)
		}
	}
}

// TestMerkleTreeLeaf holds the encoding of RFC 6962 §3.4, written out.
func TestMerkleTreeLeaf(t *testing.T) {
	e := entries()[1]
	want := []byte{0, 0} // version v1, leaf type timestamped_entry
	want = append(want, 0, 0, 1, 0x8b, 0xcf, 0xe5, 0x6c, 0xd3)
	want = append(want, 0, 1) // precert_entry
	want = append(want, e.IssuerKeyHash[:]...)
	want = append(want, 0, 0, 5)
	want = append(want, "a TBS"...)
	want = append(want, 0, 8, 0, 0, 5, 0, 0, 0, 0, 1)
	if got := e.MerkleTreeLeaf(); !bytes.Equal(got, want) {
		t.Errorf("expected %x\nfound    %x", want, got)
	}
	want = []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 0}
	if got := entries()[2].MerkleTreeLeaf(); !bytes.Equal(got, want) {
		t.Errorf("expected %x\nfound    %x", want, got)
	}
}

// TestLeafAndExtraData: what RFC 6962 answers is what static-ct-api has in tiles.
func TestLeafAndExtraData(t *testing.T) {
	for _, want := range entries() {
		var issuers [][]byte
		want.Chain = nil
		for _, text := range []string{"intermediate", "root"} {
			issuers, want.Chain = append(issuers, []byte(text)), append(want.Chain, sha256.Sum256([]byte(text)))
		}
		leaf, extra := want.MerkleTreeLeaf(), want.ExtraData(issuers)
		got, err := cert.ParseMerkleTreeLeaf(leaf)
		if err != nil {
			t.Fatal(err)
		}
		if got.Precertificate != nil || got.Chain != nil || !bytes.Equal(got.MerkleTreeLeaf(), leaf) {
			t.Errorf("%+v", got)
		}
		found, err := got.ReadExtraData(extra)
		if err != nil || !slices.EqualFunc(found, issuers, bytes.Equal) {
			t.Errorf("%q, %v", found, err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Error(diff)
		}
		for i := range leaf {
			if _, err := cert.ParseMerkleTreeLeaf(leaf[:i]); err == nil {
				t.Errorf("cut to %d bytes", i)
			}
		}
		for i := range extra {
			if _, err := got.ReadExtraData(extra[:i]); err == nil {
				t.Errorf("extra data cut to %d bytes", i)
			}
		}
		if _, err := cert.ParseMerkleTreeLeaf(append(leaf, 0)); err == nil {
			t.Error("longer")
		}
		if _, err := got.ReadExtraData(append(extra, 0)); err == nil {
			t.Error("longer extra data")
		}
		if _, err := got.ReadExtraData(want.ExtraData(make([][]byte, 17))); err == nil {
			t.Error("a long chain")
		}
	}
	huge := cert.Entry{Certificate: make([]byte, cert.MaxCertificate+1)}
	if _, err := cert.ParseMerkleTreeLeaf(huge.MerkleTreeLeaf()); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("a huge certificate: %v", err)
	}
	for _, b := range [][]byte{{1, 0}, {0, 1}} { // another version, another type of leaf
		if _, err := cert.ParseMerkleTreeLeaf(append(b, entries()[0].MerkleTreeLeaf()[2:]...)); err == nil {
			t.Errorf("%x was read", b)
		}
	}
}

func TestEntryCheck(t *testing.T) {
	for name, e := range map[string]cert.Entry{
		"nothing":                  {},
		"no precertificate":        {Precert: true, Certificate: []byte{1}},
		"a precertificate as well": {Certificate: []byte{1}, Precertificate: []byte{1}},
		"huge":                     {Certificate: make([]byte, cert.MaxCertificate+1)},
		"long extensions":          {Certificate: []byte{1}, Extensions: make([]byte, 1<<16)},
		"long chain":               {Certificate: []byte{1}, Chain: make([][32]byte, 17)},
	} {
		if err := e.Check(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSplitTileRefuses(t *testing.T) {
	one := entries()[2].AppendTileLeaf(nil)
	if _, err := cert.SplitTile(bytes.Repeat(one, 257)); err == nil {
		t.Error("257 entries are accepted")
	}
	if _, err := cert.SplitTile(one[:len(one)-1]); err == nil {
		t.Error("a cut entry is accepted")
	}
}

// FuzzTileLeaf: what is read is written the same.
func FuzzTileLeaf(f *testing.F) {
	for _, e := range entries() {
		f.Add(e.AppendTileLeaf(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, rest, err := cert.ParseTileLeaf(b)
		if err != nil {
			return
		}
		if out := e.AppendTileLeaf(nil); !bytes.Equal(out, b[:len(b)-len(rest)]) {
			t.Fatalf("read %x, wrote %x", b, out)
		}
	})
}

// FuzzMerkleTreeLeaf: what is read is written the same, also what stands beside it.
func FuzzMerkleTreeLeaf(f *testing.F) {
	for _, e := range entries() {
		f.Add(e.MerkleTreeLeaf(), e.ExtraData([][]byte{[]byte("issuer")}))
	}
	f.Fuzz(func(t *testing.T, leaf, extra []byte) {
		e, err := cert.ParseMerkleTreeLeaf(leaf)
		if err != nil {
			return
		}
		if out := e.MerkleTreeLeaf(); !bytes.Equal(out, leaf) {
			t.Fatalf("read %x, wrote %x", leaf, out)
		}
		issuers, err := e.ReadExtraData(extra)
		if err != nil {
			return
		}
		if out := e.ExtraData(issuers); !bytes.Equal(out, extra) {
			t.Fatalf("read %x, wrote %x", extra, out)
		}
	})
}
