package httpapi_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/note"
)

// issued has the authority issue a certificate and gives it.
func (a *authority) issued(t testing.TB) *x509.Certificate {
	t.Helper()
	_, text, proof := keyAndProof(t)
	body := fmt.Sprintf(`{"publicKeyRequest":{"publicKey":{"content":%s},"proofOfPossession":%q}}`, quote(text), base64.StdEncoding.EncodeToString(proof))
	return a.verifyPEM(t, a.do(t, "POST", "/api/v2/signingCert", a.token(t), body).chain(t))
}

// TestCTReads follows a certificate's SCT into the log, over HTTP alone.
func TestCTReads(t *testing.T) {
	a := newAuthority(t)
	var leaf *x509.Certificate
	for range 3 {
		leaf = a.issued(t)
	}
	issuer := check[*x509.Certificate](t)(x509.ParseCertificate(a.chain[0]))
	sct := check[[]cert.SCT](t)(cert.SCTList(leaf))[0]
	input := cert.SCTInput(sct, sha256.Sum256(issuer.RawSubjectPublicKeyInfo), check[[]byte](t)(cert.PrecertTBS(leaf.Raw)))
	hash := tlog.LeafHash(input)

	var sth struct {
		Size      uint64 `json:"tree_size"`
		Timestamp int64  `json:"timestamp"`
		Root      []byte `json:"sha256_root_hash"`
		Signature []byte `json:"tree_head_signature"`
	}
	a.do(t, "GET", "/ctlog/ct/v1/get-sth", "", "").json(t, &sth)
	if sth.Size != 3 || len(sth.Root) != 32 || sth.Timestamp == 0 || !bytes.HasPrefix(sth.Signature, []byte{4, 3}) {
		t.Fatalf("%+v", sth)
	}
	var proof struct {
		Index uint64   `json:"leaf_index"`
		Path  [][]byte `json:"audit_path"`
	}
	a.do(t, "GET", "/ctlog/ct/v1/get-proof-by-hash?tree_size=3&hash="+url.QueryEscape(base64.StdEncoding.EncodeToString(hash[:])), "", "").json(t, &proof)
	if proof.Index != 2 || len(proof.Path) != 1 {
		t.Errorf("%+v", proof)
	}
	var entry struct {
		LeafInput []byte   `json:"leaf_input"`
		ExtraData []byte   `json:"extra_data"`
		Path      [][]byte `json:"audit_path"`
	}
	a.do(t, "GET", "/ctlog/ct/v1/get-entry-and-proof?leaf_index=2&tree_size=3", "", "").json(t, &entry)
	if !bytes.Equal(entry.LeafInput, input) || len(entry.Path) != 1 || len(entry.ExtraData) == 0 {
		t.Errorf("%+v", entry)
	}
	var entries struct {
		Entries []struct {
			LeafInput []byte `json:"leaf_input"`
			ExtraData []byte `json:"extra_data"`
		}
	}
	a.do(t, "GET", "/ctlog/ct/v1/get-entries?start=1&end=9", "", "").json(t, &entries)
	if len(entries.Entries) != 2 || !bytes.Equal(entries.Entries[1].LeafInput, input) || !bytes.Equal(entries.Entries[1].ExtraData, entry.ExtraData) {
		t.Errorf("%d entries", len(entries.Entries))
	}
	var consistency struct {
		Consistency [][]byte `json:"consistency"`
	}
	a.do(t, "GET", "/ctlog/ct/v1/get-sth-consistency?first=3&second=3", "", "").json(t, &consistency)
	if consistency.Consistency == nil || len(consistency.Consistency) != 0 {
		t.Errorf("%+v", consistency)
	}
	for _, sizes := range []string{"first=0&second=3", "first=0&second=0"} { // the empty tree is the beginning of all
		consistency.Consistency = nil
		a.do(t, "GET", "/ctlog/ct/v1/get-sth-consistency?"+sizes, "", "").json(t, &consistency)
		if consistency.Consistency == nil || len(consistency.Consistency) != 0 {
			t.Errorf("%s: %+v", sizes, consistency)
		}
	}
	var roots struct{ Certificates [][]byte }
	a.do(t, "GET", "/ctlog/ct/v1/get-roots", "", "").json(t, &roots)
	if len(roots.Certificates) != 1 || !bytes.Equal(roots.Certificates[0], a.chain[1]) {
		t.Errorf("%d roots", len(roots.Certificates))
	}
	a.testStaticReads(t, sth.Root, input)
}

// testStaticReads reads the same by static-ct-api.
func (a *authority) testStaticReads(t *testing.T, root, input []byte) {
	t.Helper()
	r := a.do(t, "GET", "/ctlog/checkpoint", "", "")
	v, err := note.NewTreeHeadVerifier("ct.example.com/ctlog", a.ctKey.Public())
	if err != nil {
		t.Fatal(err)
	}
	cp, err := note.Open(string(r.body), v)
	if err != nil || !bytes.Equal(cp.Root[:], root) {
		t.Fatalf("%v: %s", err, r.body)
	}
	r = a.do(t, "GET", "/ctlog/tile/data/000.p/3", "", "")
	if r.status != http.StatusOK || r.header.Get("Cache-Control") != "public, max-age=60" {
		t.Fatalf("status %d, %v", r.status, r.header)
	}
	split := check[[][]byte](t)(cert.SplitTile(r.body))
	e, _, err := cert.ParseTileLeaf(split[2])
	if err != nil || !bytes.Equal(e.MerkleTreeLeaf(), input) {
		t.Fatalf("the data tile's entry is another: %v", err)
	}
	hash := tlog.LeafHash(input)
	if r := a.do(t, "GET", "/ctlog/tile/0/000.p/3", "", ""); len(r.body) != 96 || !bytes.Equal(r.body[64:], hash[:]) {
		t.Errorf("status %d, %d bytes", r.status, len(r.body))
	}
	for _, fp := range e.Chain {
		r := a.do(t, "GET", fmt.Sprintf("/ctlog/issuer/%x", fp), "", "")
		if sha256.Sum256(r.body) != fp || r.header.Get("Content-Type") != "application/pkix-cert" {
			t.Errorf("issuer %x: status %d", fp, r.status)
		}
	}
}

// TestCTAdd submits a certificate that this authority issued, and the answer is
// its SCT.
func TestCTAdd(t *testing.T) {
	a := newAuthority(t)
	leaf := a.issued(t)
	body := check[[]byte](t)(json.Marshal(map[string]any{"chain": [][]byte{leaf.Raw, a.chain[0], a.chain[1]}}))
	var out struct {
		Version    *int    `json:"sct_version"`
		ID         []byte  `json:"id"`
		Timestamp  uint64  `json:"timestamp"`
		Extensions *string `json:"extensions"`
		Signature  []byte  `json:"signature"`
	}
	a.do(t, "POST", "/ctlog/ct/v1/add-chain", "", string(body)).json(t, &out)
	if out.Version == nil || *out.Version != 0 || out.Extensions == nil || len(out.ID) != 32 {
		t.Fatalf("%+v", out)
	}
	e := cert.Entry{Timestamp: out.Timestamp, Certificate: leaf.Raw, Extensions: check[[]byte](t)(base64.StdEncoding.DecodeString(*out.Extensions))}
	if err := cert.VerifyLogSignature(a.ctKey.Public(), cert.SHA256WithECDSA, e.MerkleTreeLeaf(), out.Signature[4:]); err != nil {
		t.Error(err)
	}
}

func TestCTRefuses(t *testing.T) {
	a := newAuthority(t)
	leaf := a.issued(t)
	chain := string(check[[]byte](t)(json.Marshal(map[string]any{"chain": [][]byte{leaf.Raw, a.chain[0]}})))
	b64 := base64.StdEncoding.EncodeToString
	for name, tc := range map[string]struct {
		method, path, body string
		status             int
	}{
		"empty body":           {"POST", "add-chain", "", 400},
		"text":                 {"POST", "add-chain", "x", 400},
		"no chain":             {"POST", "add-chain", "{}", 400},
		"unknown member":       {"POST", "add-chain", `{"chains":[]}`, 400},
		"rubbish":              {"POST", "add-chain", `{"chain":["AAAA"]}`, 400},
		"no precertificate":    {"POST", "add-pre-chain", chain, 400},
		"huge":                 {"POST", "add-pre-chain", strings.Repeat(" ", 2<<20), 413},
		"other authority":      {"POST", "add-chain", `{"chain":["` + b64(newAuthority(t).issued(t).Raw) + `","` + b64(a.chain[0]) + `"]}`, 400},
		"no start":             {"GET", "get-entries?end=1", "", 400},
		"negative start":       {"GET", "get-entries?start=-1&end=1", "", 400},
		"two starts":           {"GET", "get-entries?start=0&start=1&end=1", "", 400},
		"huge start":           {"GET", "get-entries?start=99999999999999999999&end=1", "", 400},
		"beyond the end":       {"GET", "get-entries?start=1&end=1", "", 404},
		"short hash":           {"GET", "get-proof-by-hash?tree_size=1&hash=AAAA", "", 400},
		"unknown hash":         {"GET", "get-proof-by-hash?tree_size=1&hash=" + url.QueryEscape(b64(make([]byte, 32))), "", 404},
		"a hash in two lines":  {"GET", "get-proof-by-hash?tree_size=1&hash=" + url.QueryEscape("AAAA\n"+b64(make([]byte, 32))[4:]), "", 400},
		"two hashes":           {"GET", "get-proof-by-hash?tree_size=1" + strings.Repeat("&hash="+url.QueryEscape(b64(make([]byte, 32))), 2), "", 400},
		"bits left in a hash":  {"GET", "get-proof-by-hash?tree_size=1&hash=" + strings.Repeat("A", 42) + "B%3D", "", 400},
		"consistency from 0":   {"GET", "get-sth-consistency?first=0&second=2", "", 404},
		"backwards to 0":       {"GET", "get-sth-consistency?first=1&second=0", "", 400},
		"consistency beyond":   {"GET", "get-sth-consistency?first=1&second=2", "", 404},
		"entry beyond":         {"GET", "get-entry-and-proof?leaf_index=1&tree_size=1", "", 404},
		"submission by GET":    {"GET", "add-chain", "", 405},
		"no such route at all": {"GET", "get-nothing", "", 404},
	} {
		if r := a.do(t, tc.method, "/ctlog/ct/v1/"+tc.path, "", tc.body); r.status != tc.status {
			t.Errorf("%s: expected status %d, found %d: %s", name, tc.status, r.status, r.body)
		}
	}
	for _, path := range []string{"tile/0/001", "tile/data/000", "tile/data/000.p/2", "tile/entries/000.p/1", "tile/0/0", "issuer/00", "issuer/" + strings.Repeat("AB", 32), "issuer/" + strings.Repeat("ab", 32)} {
		if r := a.do(t, "GET", "/ctlog/"+path, "", ""); r.status != http.StatusNotFound {
			t.Errorf("%s: status %d", path, r.status)
		}
	}
}

// FuzzSigningRequest: no body makes the API panic, or issue without a token.
func FuzzSigningRequest(f *testing.F) {
	a := newAuthority(f)
	_, text, proof := keyAndProof(f)
	f.Add(fmt.Sprintf(`{"credentials":{"oidcIdentityToken":"a.b.c"},"publicKeyRequest":{"publicKey":{"algorithm":"ECDSA","content":%s},"proofOfPossession":%q}}`, quote(text), base64.StdEncoding.EncodeToString(proof)))
	f.Add(`{"certificateSigningRequest":"` + base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte{0x30}})) + `"}`)
	f.Fuzz(func(t *testing.T, body string) {
		for _, path := range []string{"/api/v2/signingCert", "/api/v1/signingCert"} {
			if r := a.do(t, "POST", path, "", body); r.status/100 != 4 {
				t.Fatalf("%s: status %d: %s", path, r.status, r.body)
			}
		}
	})
}
