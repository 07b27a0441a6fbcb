package entry_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

// propose writes a proposal as generated clients do: the kind last, and null for
// what is not there.
func propose(kind, version, spec string) []byte {
	return fmt.Appendf(nil, `{"apiVersion":%q,"spec":%s,"kind":%q}`, version, spec, kind)
}

func quote(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// envelope is a DSSE envelope to be, and who signs it.
type envelope struct {
	payload string
	signers []envelopeSigner
}

type envelopeSigner struct {
	key  crypto.Signer
	hash crypto.Hash // 0: Ed25519
	pem  []byte
	sig  []byte // made by sign
}

const payloadType = "application/vnd.in-toto+json"

func (e *envelope) sign(t testing.TB) *envelope {
	t.Helper()
	pae := sigbox.PAE(payloadType, []byte(e.payload))
	for i := range e.signers {
		s := &e.signers[i]
		message := pae
		if s.hash != 0 {
			h := s.hash.New()
			h.Write(pae)
			message = h.Sum(nil)
		}
		var err error
		if s.sig, err = s.key.Sign(rand.Reader, message, s.hash); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// text is the envelope as JSON.
func (e *envelope) text() string {
	var sigs []string
	for _, s := range e.signers {
		sigs = append(sigs, fmt.Sprintf(`{"sig":%q,"keyid":""}`, b64(s.sig)))
	}
	return fmt.Sprintf(`{"payload":%q,"payloadType":%q,"signatures":[%s]}`, b64([]byte(e.payload)), payloadType, strings.Join(sigs, ","))
}

// dsse proposes the envelope with verifiers.
func (e *envelope) dsse(verifiers ...[]byte) []byte {
	var vs []string
	for _, v := range verifiers {
		vs = append(vs, quote(b64(v)))
	}
	return propose("dsse", "0.0.1", fmt.Sprintf(`{"envelopeHash":null,"payloadHash":null,"proposedContent":{"envelope":%s,"verifiers":[%s]},"signatures":null}`, quote(e.text()), strings.Join(vs, ",")))
}

// inToto proposes the envelope with its payload and signatures encoded twice.
func (e *envelope) inToto() []byte {
	var sigs []string
	for i, s := range e.signers {
		keyID := ""
		if i == 0 {
			keyID = `"keyid":"a <key>",`
		}
		sigs = append(sigs, fmt.Sprintf(`{%s"sig":%q,"publicKey":%q}`, keyID, b64([]byte(b64(s.sig))), b64(s.pem)))
	}
	return propose("intoto", "0.0.2", fmt.Sprintf(`{"content":{"envelope":{"payload":%q,"payloadType":%q,"signatures":[%s]},"hash":{"algorithm":"sha256","value":%q}}}`,
		b64([]byte(b64([]byte(e.payload)))), payloadType, strings.Join(sigs, ","), sigbox.SHA256.Sum([]byte(e.text())).Hex()))
}

// accept parses and verifies a proposal, and holds its leaf to what ParseBody
// finds in it.
func accept(t testing.TB, b []byte) *entry.Proposal {
	t.Helper()
	p, err := entry.ParseProposal(b)
	if err == nil {
		err = p.Verify()
	}
	if err != nil {
		t.Fatalf("%v\n%.400s", err, b)
	}
	sound(t, p)
	return p
}

// sound checks that a proposal's leaf is canonical and says what the proposal does.
func sound(t testing.TB, p *entry.Proposal) {
	t.Helper()
	if c := canonicalize(t, p.Leaf()); !bytes.Equal(c, p.Leaf()) {
		t.Fatalf("the leaf is not canonical:\n%s\n%s", p.Leaf(), c)
	}
	b, err := entry.ParseBody(p.Leaf())
	if err != nil {
		t.Fatalf("%v\n%s", err, p.Leaf())
	}
	want := p.Body
	if b.Kind == entry.KindDSSE {
		want.PayloadType = "" // is not logged
	}
	if want, got := fmt.Sprintf("%+v", want), fmt.Sprintf("%+v", *b); want != got {
		t.Fatalf("proposed %s\nlogged %s", want, got)
	}
}

func keyPEM(t testing.TB, key crypto.Signer) []byte { return pemOf("PUBLIC KEY", spki(t, key)) }

// TestProposedDigests logs a hashedrekord by each algorithm, with a key, a
// certificate and a chain.
func TestProposedDigests(t *testing.T) {
	for _, k := range append(slices.Clone(loggable), sigbox.ECDSAP384SHA256, sigbox.ECDSAP521SHA256) {
		t.Run(k.String(), func(t *testing.T) {
			signer := map[sigbox.KeyDetails]sigbox.KeyDetails{sigbox.ECDSAP384SHA256: sigbox.ECDSAP384SHA384, sigbox.ECDSAP521SHA256: sigbox.ECDSAP521SHA512}[k]
			if signer == 0 {
				signer = k
			}
			key := newKey(t, signer)
			e := sign(t, k, key, "artifact")
			p := accept(t, entry.AppendProposal(nil, e))
			if !bytes.Equal(p.Leaf(), entry.AppendProposal(nil, e)) {
				t.Error("what is proposed in canonical JSON is not the leaf")
			}
			e.PublicKey, e.Certificate = nil, certificate(t, key, 0)
			if p := accept(t, entry.AppendProposal(nil, e)); !bytes.Equal(p.Signatures[0].Certificate, e.Certificate) || !p.Digest.Equal(e.Digest) {
				t.Errorf("%+v", p.Body)
			}
		})
	}
}

// newChain makes certificates of a key, leaf first.
func newChain(t testing.TB, key crypto.Signer, n int) (ders [][]byte) {
	t.Helper()
	parent, parentKey := (*x509.Certificate)(nil), crypto.Signer(nil)
	for i := range n {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 1)), Subject: pkix.Name{CommonName: fmt.Sprint(i)}, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(600, 0),
			IsCA: i < n-1, BasicConstraintsValid: true,
		}
		k := key
		if i < n-1 {
			k = newKey(t, sigbox.ECDSAP256SHA256)
		}
		if parent == nil {
			parent, parentKey = c, k
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, k.Public(), parentKey)
		if err != nil {
			t.Fatal(err)
		}
		if parent, err = x509.ParseCertificate(der); err != nil {
			t.Fatal(err)
		}
		parentKey = k
		ders = append([][]byte{der}, ders...)
	}
	return ders
}

func chainPEM(ders ...[]byte) (b []byte) {
	for _, der := range ders {
		b = append(b, pemOf("CERTIFICATE", der)...)
	}
	return b
}

// TestProposedChain: a chain is logged whole, when it is one.
func TestProposedChain(t *testing.T) {
	key := newKey(t, sigbox.ECDSAP256SHA256)
	e := sign(t, sigbox.ECDSAP256SHA256, key, "artifact")
	chain := newChain(t, key, 3)
	with := func(pem []byte) []byte {
		return bytes.Replace(entry.AppendProposal(nil, e), []byte(b64(keyPEM(t, key))), []byte(b64(pem)), 1)
	}
	good := with(chainPEM(chain...))
	if p := accept(t, good); !bytes.Equal(p.Leaf(), good) || !bytes.Equal(p.Signatures[0].Certificate, chain[0]) {
		t.Errorf("not logged whole: %s", p.Leaf())
	}
	p, err := entry.ParseProposal(with(chainPEM(chain[0], chain[2])))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, p.Verify(), sigbox.Invalid, "not signed by the next one")
}

// TestProposedPEM: white space is not logged, and nothing else may stand around it.
func TestProposedPEM(t *testing.T) {
	key := newKey(t, sigbox.ECDSAP256SHA256)
	e := sign(t, sigbox.ECDSAP256SHA256, key, "artifact")
	good, pem := entry.AppendProposal(nil, e), string(keyPEM(t, key))
	with := func(text string) []byte {
		return bytes.Replace(good, []byte(b64([]byte(pem))), []byte(b64([]byte(text))), 1)
	}
	for name, text := range map[string]string{
		"no line end": strings.TrimSpace(pem), "line ends of Windows": strings.ReplaceAll(pem, "\n", "\r\n"), "space around": "\n \t" + pem + "\n\n",
	} {
		if p := accept(t, with(text)); !bytes.Equal(p.Leaf(), good) {
			t.Errorf("%s: logged as %s", name, p.Leaf())
		}
	}
	for name, text := range map[string]string{"text before": "text\n" + pem, "text behind": pem + "text", "a header": strings.Replace(pem, "\n", "\nA: b\n\n", 1), "nothing": ""} {
		_, err := entry.ParseProposal(with(text))
		if err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A key has one encoding: here the length of the outermost SEQUENCE is longer than
	// need be, or more stands behind.
	der := spki(t, key)
	for name, der := range map[string][]byte{"long length": append([]byte{0x30, 0x81, byte(len(der) - 2)}, der[2:]...), "more behind": append(slices.Clone(der), 0)} {
		p, err := entry.ParseProposal(with(string(pemOf("PUBLIC KEY", der))))
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Verify(); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// signers are one of each key that signs envelopes.
func signers(t testing.TB) (all []envelopeSigner) {
	for k, h := range map[sigbox.KeyDetails]crypto.Hash{
		sigbox.ECDSAP256SHA256: crypto.SHA256, sigbox.ECDSAP384SHA384: crypto.SHA384, sigbox.ECDSAP521SHA512: crypto.SHA256,
		sigbox.Ed25519: 0, sigbox.RSAPKCS1v15With2048: crypto.SHA256,
	} {
		key := newKey(t, k)
		all = append(all, envelopeSigner{key: key, hash: h, pem: keyPEM(t, key)})
	}
	key := newKey(t, sigbox.ECDSAP256SHA256)
	return append(all, envelopeSigner{key: key, hash: crypto.SHA256, pem: chainPEM(certificate(t, key, 0))})
}

func TestProposedEnvelopes(t *testing.T) {
	for _, s := range signers(t) {
		e := (&envelope{payload: `{"a":"<b>"}`, signers: []envelopeSigner{s}}).sign(t)
		p := accept(t, e.dsse(s.pem))
		if string(p.Payload) != e.payload || p.PayloadType != payloadType || !p.EnvelopeDigest.Equal(sigbox.SHA256.Sum([]byte(e.text()))) ||
			!p.PayloadDigest.Equal(sigbox.SHA256.Sum([]byte(e.payload))) || !bytes.Equal(p.Signatures[0].Signature, s.sig) && !bytes.Equal(p.Signatures[0].Signature, e.signers[0].sig) {
			t.Errorf("%+v", p)
		}
		p = accept(t, e.inToto())
		if string(p.Payload) != e.payload || p.PayloadType != payloadType || !p.PayloadDigest.Equal(sigbox.SHA256.Sum([]byte(e.payload))) {
			t.Errorf("%+v", p)
		}
		if bytes.Contains(p.Leaf(), []byte(b64([]byte(e.payload)))) {
			t.Error("the payload is in the leaf")
		}
	}
}

// TestProposedSignatures: signatures of several find their verifiers in whatever
// order those come, and the leaf is the same.
func TestProposedSignatures(t *testing.T) {
	all := signers(t)
	e := (&envelope{payload: "{}", signers: all}).sign(t)
	var verifiers [][]byte
	for _, s := range all {
		verifiers = append(verifiers, s.pem)
	}
	p := accept(t, e.dsse(verifiers...))
	var spec struct {
		Spec struct {
			Signatures []struct {
				Signature string
				Verifier  []byte
			}
		}
	}
	if err := json.Unmarshal(p.Leaf(), &spec); err != nil || len(spec.Spec.Signatures) != len(all) {
		t.Fatalf("%v: %s", err, p.Leaf())
	}
	for i, s := range spec.Spec.Signatures {
		if i > 0 && spec.Spec.Signatures[i-1].Signature >= s.Signature {
			t.Error("signatures are not in order")
		}
		j := slices.IndexFunc(e.signers, func(es envelopeSigner) bool { return b64(es.sig) == s.Signature })
		if j < 0 || !bytes.Equal(e.signers[j].pem, s.Verifier) {
			t.Errorf("signature %d has another's verifier", i)
		}
	}
	slices.Reverse(verifiers)
	if again := accept(t, e.dsse(verifiers...)); !bytes.Equal(again.Leaf(), p.Leaf()) {
		t.Error("the order of verifiers changes the leaf")
	}
	if again := accept(t, e.dsse(append(verifiers, keyPEM(t, newKey(t, sigbox.ECDSAP256SHA256)))...)); !bytes.Equal(again.Leaf(), p.Leaf()) {
		t.Error("a verifier of nothing changes the leaf")
	}
	_, err := entry.ParseProposal(e.dsse(verifiers[1:]...))
	refused(t, err, sigbox.NotVerified, "none of the verifiers")

	// intoto keeps what it was given.
	if got := accept(t, e.inToto()); len(got.Signatures) != len(all) || !bytes.Equal(got.Signatures[0].Signature, e.signers[0].sig) {
		t.Errorf("%+v", got.Body)
	}
}

// TestProposedVerifiersOnce: the keys of many verifiers, with the chains above them,
// are read once for all signatures, and one that cannot be read is told.
func TestProposedVerifiersOnce(t *testing.T) {
	var verifiers [][]byte
	var last crypto.Signer
	for range 4 {
		last = newKey(t, sigbox.ECDSAP256SHA256)
		verifiers = append(verifiers, chainPEM(newChain(t, last, 5)...))
	}
	read := func(signatures int) float64 {
		s := envelopeSigner{key: last, hash: crypto.SHA256, pem: verifiers[3]}
		doc := (&envelope{payload: "{}", signers: slices.Repeat([]envelopeSigner{s}, signatures)}).sign(t).dsse(verifiers...)
		return testing.AllocsPerRun(2, func() {
			if _, err := entry.ParseProposal(doc); err != nil {
				t.Fatal(err)
			}
		})
	}
	if one, eight := read(1), read(8); eight > 2*one {
		t.Errorf("one signature allocates %.0f times, eight %.0f", one, eight)
	}
	e := (&envelope{payload: "{}", signers: []envelopeSigner{{key: last, hash: crypto.SHA256, pem: verifiers[3]}}}).sign(t)
	_, err := entry.ParseProposal(e.dsse(verifiers[3], pemOf("PUBLIC KEY", []byte("no key"))))
	refused(t, err, sigbox.Invalid, "public key")
}

// TestProposalBudget: what a request may cost is bounded, by its shape, before keys
// and certificates are parsed; what clients send is far below that.
func TestProposalBudget(t *testing.T) {
	key := newKey(t, sigbox.ECDSAP256SHA256)
	signed := func(payload string, n int, s envelopeSigner) *envelope {
		return (&envelope{payload: payload, signers: slices.Repeat([]envelopeSigner{s}, n)}).sign(t)
	}
	ecdsaSigner := envelopeSigner{key: key, hash: crypto.SHA256, pem: keyPEM(t, key)}
	chained := func(n int) []byte { return chainPEM(newChain(t, key, n)...) }
	noChain := func(n int) []byte { return chainPEM(slices.Repeat([][]byte{{0x30, 0}}, n)...) }
	times := func(n int, verifier []byte) [][]byte { return slices.Repeat([][]byte{verifier}, n) }

	e := signed("{}", 10, ecdsaSigner)
	accept(t, e.dsse(times(10, ecdsaSigner.pem)...))                // 100
	accept(t, e.dsse(times(9, chained(5))...))                      // 126
	_, err := entry.ParseProposal(e.dsse(times(10, noChain(4))...)) // 130
	refused(t, err, sigbox.Invalid, "more than 128 signature checks")
	_, err = entry.ParseProposal(e.dsse(times(10, noChain(3))...)) // 120: read, then
	refused(t, err, sigbox.Invalid, "certificate 0 of the chain")

	// Ed25519 hashes the message each time.
	ed := newKey(t, sigbox.Ed25519)
	edSigner := envelopeSigner{key: ed, pem: keyPEM(t, ed)}
	large := strings.Repeat("a", 3<<20)
	for _, pem := range [][]byte{edSigner.pem, chainPEM(certificate(t, ed, 0))} {
		e := signed(large, 1, edSigner)
		accept(t, e.dsse(pem))
		accept(t, e.dsse(times(9, pem)...)) // 117
		_, err = entry.ParseProposal(e.dsse(times(10, pem)...))
		refused(t, err, sigbox.Invalid, "more than 128 signature checks")
	}
	accept(t, signed(large, 10, ecdsaSigner).dsse(times(10, ecdsaSigner.pem)...))

	// intoto has a verifier for each signature; and a query has one budget.
	inToto := func(chain int) []byte {
		return signed("{}", 10, envelopeSigner{key: key, hash: crypto.SHA256, pem: noChain(chain)}).inToto()
	}
	query := func(entries ...[]byte) error {
		_, err := entry.ParseQuery(fmt.Appendf(nil, `{"entries":[%s]}`, bytes.Join(entries, []byte(","))))
		return err
	}
	if err := query(slices.Repeat([][]byte{signed("{}", 1, ecdsaSigner).dsse(noChain(10))}, 10)...); err != nil { // 100
		t.Errorf("ten entries with long chains: %v", err)
	}
	if err := query(inToto(10)); err != nil { // 100
		t.Errorf("an entry with ten long chains: %v", err)
	}
	refused(t, query(inToto(10), inToto(3)), sigbox.Invalid, "more than 128 signature checks") // 130
	stamp := propose("rfc3161", "0.0.1", `{"tsr":{"content":"MAA="}}`)
	if err := query(slices.Concat([][]byte{inToto(10), inToto(2)}, slices.Repeat([][]byte{stamp}, 8))...); err != nil { // 128
		t.Errorf("128 checks: %v", err)
	}
}

// TestProposedChainOfHugeKeys: a certificate may have a key of a hundred thousand
// bits, for which a single check takes seconds.
func TestProposedChainOfHugeKeys(t *testing.T) {
	key := newKey(t, sigbox.ECDSAP256SHA256)
	chain := newChain(t, key, 2)
	c, err := x509.ParseCertificate(chain[1])
	if err != nil {
		t.Fatal(err)
	}
	huge := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}
	if chain[1], err = x509.CreateCertificate(rand.Reader, c, &x509.Certificate{Subject: c.Subject}, huge, key); err != nil {
		t.Fatal(err)
	}
	e := sign(t, sigbox.ECDSAP256SHA256, key, "artifact")
	p, err := entry.ParseProposal(bytes.Replace(entry.AppendProposal(nil, e), []byte(b64(keyPEM(t, key))), []byte(b64(chainPEM(chain...))), 1))
	if err != nil {
		t.Fatal(err)
	}
	refused(t, p.Verify(), sigbox.Invalid, "certificate 1 of the chain: expected a key of at most 8192 bits, found RSA of 8193 bits")
}

// TestProposalKeySizes: RSA keys of sizes that are not taken are told as that.
func TestProposalKeySizes(t *testing.T) {
	rec := sign(t, sigbox.ECDSAP256SHA256, newKey(t, sigbox.ECDSAP256SHA256), "artifact")
	ec := newKey(t, sigbox.ECDSAP256SHA256)
	e := (&envelope{payload: "{}", signers: []envelopeSigner{{key: ec, hash: crypto.SHA256, pem: keyPEM(t, ec)}}}).sign(t)
	for bits, kind := range map[uint]sigbox.Kind{1024: sigbox.Invalid, 2047: sigbox.Invalid, 2048: sigbox.NotVerified, 8192: sigbox.NotVerified, 8193: sigbox.Invalid} {
		n := new(big.Int).SetBit(big.NewInt(1), int(bits-1), 1)
		der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: n, E: 65537})
		if err != nil {
			t.Fatal(err)
		}
		says := "does not verify"
		if kind == sigbox.Invalid {
			says = fmt.Sprintf("RSA of %d bits cannot be logged (sign with ECDSA on P-256, P-384 or P-521, with Ed25519, or with RSA of 2048 to 8192 bits)", bits)
		}
		rec.PublicKey = der
		for _, body := range [][]byte{entry.AppendProposal(nil, rec), e.dsse(pemOf("PUBLIC KEY", der))} {
			p, err := entry.ParseProposal(body)
			if err != nil {
				t.Fatal(err)
			}
			refused(t, p.Verify(), kind, says)
		}
	}
}

func TestProposalNotVerified(t *testing.T) {
	key, other := newKey(t, sigbox.ECDSAP256SHA256), newKey(t, sigbox.ECDSAP256SHA256)
	rec := sign(t, sigbox.ECDSAP256SHA256, key, "artifact")
	e := (&envelope{payload: "{}", signers: []envelopeSigner{{key: key, hash: crypto.SHA256, pem: keyPEM(t, key)}}}).sign(t)
	foreign := func(b []byte) []byte {
		return bytes.ReplaceAll(b, []byte(b64(keyPEM(t, key))), []byte(b64(keyPEM(t, other))))
	}
	wrongDigest := rec
	wrongDigest.Digest = sigbox.SHA256.Sum([]byte("another artifact"))
	pure := rec
	pure.PublicKey = spki(t, newKey(t, sigbox.Ed25519))
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ed := newKey(t, sigbox.Ed25519)
	hashed := (&envelope{payload: "{}", signers: []envelopeSigner{{key: ed, hash: crypto.SHA512, pem: keyPEM(t, ed)}}}).sign(t)
	odd := rec
	odd.PublicKey = spki(t, p224)
	sha512 := rec
	sha512.Digest = sigbox.SHA512.Sum([]byte("artifact"))
	for name, test := range map[string]struct {
		body []byte
		kind sigbox.Kind
		says string
	}{
		"hashedrekord by another key":        {foreign(entry.AppendProposal(nil, rec)), sigbox.NotVerified, "does not verify"},
		"hashedrekord of another digest":     {entry.AppendProposal(nil, wrongDigest), sigbox.NotVerified, "does not verify"},
		"Ed25519 over SHA-256":               {entry.AppendProposal(nil, pure), sigbox.Invalid, "Ed25519ph"},
		"P-224":                              {entry.AppendProposal(nil, odd), sigbox.Invalid, "P-224"},
		"P-256 over SHA-512":                 {entry.AppendProposal(nil, sha512), sigbox.Invalid, "cannot be logged"},
		"dsse by another key":                {foreign(e.dsse(keyPEM(t, key))), sigbox.NotVerified, "does not verify"},
		"dsse of another payload":            {bytes.Replace(e.dsse(keyPEM(t, key)), []byte(b64([]byte("{}"))), []byte(b64([]byte("[]"))), 1), sigbox.NotVerified, "does not verify"},
		"dsse of another type":               {bytes.Replace(e.dsse(keyPEM(t, key)), []byte("in-toto+json"), []byte("in-toto+cbor"), 1), sigbox.NotVerified, "does not verify"},
		"intoto by another key":              {foreign(e.inToto()), sigbox.NotVerified, "does not verify"},
		"intoto of another payload":          {bytes.Replace(e.inToto(), []byte(b64([]byte(b64([]byte("{}"))))), []byte(b64([]byte(b64([]byte("[]"))))), 1), sigbox.NotVerified, "does not verify"},
		"a certificate that does not parse":  {bytes.Replace(entry.AppendProposal(nil, rec), []byte(b64(keyPEM(t, key))), []byte(b64(chainPEM([]byte{0x30, 0}))), 1), sigbox.Invalid, "certificate"},
		"a public key that does not parse":   {bytes.Replace(entry.AppendProposal(nil, rec), []byte(b64(keyPEM(t, key))), []byte(b64(pemOf("PUBLIC KEY", []byte{0x30, 0}))), 1), sigbox.Invalid, "public key"},
		"dsse by a key that does not parse":  {e.dsse(pemOf("PUBLIC KEY", []byte{0x30, 0})), sigbox.Invalid, "public key"},
		"dsse by Ed25519 for one of P-256":   {e.dsse(keyPEM(t, newKey(t, sigbox.Ed25519))), sigbox.NotVerified, "does not verify"},
		"dsse by Ed25519ph":                  {hashed.dsse(keyPEM(t, ed)), sigbox.NotVerified, "does not verify"},
		"dsse by a key that nothing is with": {e.dsse(pemOf("PUBLIC KEY", spki(t, p224))), sigbox.Invalid, "P-224"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := entry.ParseProposal(test.body)
			if err == nil {
				err = p.Verify()
			}
			refused(t, err, test.kind, test.says)
		})
	}
}

// proposals are one of each kind, without nulls.
func proposals(t testing.TB) map[string]string {
	key := newKey(t, sigbox.ECDSAP256SHA256)
	e := (&envelope{payload: "{}", signers: []envelopeSigner{{key: key, hash: crypto.SHA256, pem: keyPEM(t, key)}}}).sign(t)
	dsse := strings.NewReplacer(`"envelopeHash":null,"payloadHash":null,`, "", `,"signatures":null`, "").Replace(string(e.dsse(keyPEM(t, key))))
	return map[string]string{
		"hashedrekord": string(entry.AppendProposal(nil, sign(t, sigbox.ECDSAP256SHA256, key, "artifact"))),
		"dsse":         dsse,
		"intoto":       string(e.inToto()),
		"rfc3161":      string(propose("rfc3161", "0.0.1", `{"tsr":{"content":"MAA="}}`)),
	}
}

func TestParseProposalRefused(t *testing.T) {
	good := proposals(t)
	replace := func(kind, old, with string) string {
		if !strings.Contains(good[kind], old) {
			t.Fatalf("%s has no %s", good[kind], old)
		}
		return strings.Replace(good[kind], old, with, 1)
	}
	hash := sigbox.SHA256.Sum([]byte("artifact")).Hex()
	for name, test := range map[string]struct{ body, says string }{
		"empty":                {"", "ends early"},
		"no spec":              {`{"apiVersion":"0.0.1","kind":"hashedrekord"}`, "expected apiVersion, kind and spec"},
		"null":                 {"null", "expected an object"},
		"a spec that is not":   {`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":null}`, "expected apiVersion, kind and spec"},
		"a list for a spec":    {`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":[]}`, "expected an object"},
		"unknown kind":         {replace("hashedrekord", `"kind":"hashedrekord"`, `"kind":"rekord"`), "are not taken"},
		"unknown version":      {replace("hashedrekord", "0.0.1", "0.0.2"), "are not taken"},
		"intoto 0.0.1":         {replace("intoto", "0.0.2", "0.0.1"), "are not taken"},
		"unknown member":       {replace("hashedrekord", `"data":{`, `"data":{"content":"AA==",`), "unknown member"},
		"no hash":              {replace("hashedrekord", `"data":{"hash":`, `"data":null,"x":{"hash":`), "unknown member"},
		"upper-case hash":      {replace("hashedrekord", hash, strings.ToUpper(hash)), "lower-case hex"},
		"SHA-1":                {replace("hashedrekord", "sha256", "sha1"), "sha1"},
		"canonical dsse":       {bodies()["dsse 0.0.1"], "makes this of the proposedContent"},
		"dsse, no verifiers":   {replace("dsse", `"verifiers":[`, `"verifiers":[],"x":[`), "unknown member"},
		"dsse, no envelope":    {`{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":"","verifiers":[]}}}`, "ends early"},
		"dsse, odd envelope":   {`{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":"null","verifiers":[]}}}`, "expected an object"},
		"dsse, a number":       {`{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":1,"verifiers":[]}}}`, "expected a string"},
		"envelope, member":     {replace("dsse", `\"payloadType\"`, `\"payload_type\"`), "unknown member"},
		"no signatures":        {`{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":"{\"payload\":\"\",\"payloadType\":\"a\",\"signatures\":[]}","verifiers":["` + pemKey + `"]}}}`, "found 0 and 1"},
		"no type":              {`{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":"{\"payload\":\"\",\"signatures\":[]}","verifiers":["` + pemKey + `"]}}}`, "payloadType is missing"},
		"intoto, no hash":      {replace("intoto", `,"hash":{"algorithm":"sha256"`, `,"payloadHash":{"algorithm":"sha256"`), "hash of the envelope"},
		"intoto, wrong hash":   {replace("intoto", `"hash":`, `"payloadHash":{"algorithm":"sha256","value":"`+hash+`"},"hash":`), "not the payload's"},
		"intoto, sha512":       {replace("intoto", `"hash":{"algorithm":"sha256"`, `"hash":{"algorithm":"sha512"`), "lower-case hex"},
		"intoto, encoded once": {replace("intoto", b64([]byte(b64([]byte("{}")))), b64([]byte("{}"))), "base64 of base64"},
		"intoto, no payload":   {replace("intoto", `"payload":`, `"payload":null,"payloadType":"x","x":`), "unknown member"},
		"empty timestamp":      {replace("rfc3161", "MAA=", ""), "missing"},
		"a leaf too large":     {replace("hashedrekord", `"content":"`, `"content":"`+strings.Repeat("AAAA", 20000)), "at most 65535"},
		"a large timestamp":    {replace("rfc3161", "MAA=", strings.Repeat("AAAA", 4000)), "at most 10240"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := entry.ParseProposal([]byte(test.body))
			refusedAny(t, err, test.says)
		})
	}
	_, err := entry.ParseProposal(make([]byte, entry.MaxProposalSize+1))
	refused(t, err, sigbox.TooLarge, "at most")
	_, err = entry.ParseProposal([]byte(replace("dsse", `"verifiers":[`, `"verifiers":[`+strings.Repeat(`"`+pemKey+`",`, 10))))
	refused(t, err, sigbox.TooLarge, "more than 10")
}

// TestProposedSignatureText: a signature's text is logged, so that it has one form.
func TestProposedSignatureText(t *testing.T) {
	good := proposals(t)["dsse"]
	_, rest, _ := strings.Cut(good, `\"sig\":\"`)
	sig, _, _ := strings.Cut(rest, `\"`)
	raw, err := base64.StdEncoding.DecodeString(sig)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"of the other alphabet": base64.URLEncoding.EncodeToString(append([]byte{0xfb, 0xff}, raw[2:]...)), "without padding": base64.RawStdEncoding.EncodeToString(append(raw, make([]byte, 4-len(raw)%3)...)),
		"in lines": sig[:4] + `\\n` + sig[4:], "empty": "", "no base64": "????",
	} {
		if _, err := entry.ParseProposal([]byte(strings.Replace(good, sig, text, 1))); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	twice := strings.Replace(good, `\"signatures\":[`, `\"signatures\":[{\"sig\":\"`+sig+`\"},`, 1)
	_, err = entry.ParseProposal([]byte(twice))
	refused(t, err, sigbox.Invalid, "stands twice")
}

// TestGHSA4c4x: a key named by URL is refused, and never fetched: nothing in a
// proposal has a place for one. (rekor GHSA-4c4x-jm2x-pf9j)
func TestGHSA4c4x(t *testing.T) {
	good := proposals(t)
	for _, member := range []string{`"url":"http://127.0.0.1/key"`, `"URL":"http://127.0.0.1/key"`} {
		for name, body := range map[string]string{
			"key":  strings.Replace(good["hashedrekord"], `"publicKey":{`, `"publicKey":{`+member+`,`, 1),
			"data": strings.Replace(good["hashedrekord"], `"data":{`, `"data":{`+member+`,`, 1),
			"dsse": strings.Replace(good["dsse"], `"proposedContent":{`, `"proposedContent":{`+member+`,`, 1),
			"spec": strings.Replace(good["rfc3161"], `"tsr":{`, `"tsr":{`+member+`,`, 1),
		} {
			_, err := entry.ParseProposal([]byte(body))
			if body == good["hashedrekord"] || err == nil || !strings.Contains(err.Error(), "unknown member") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// TestGHSAfrqx: values of other kinds and missing ones, in each place, are errors
// and no panics. (rekor GHSA-frqx-jfcm-6jjr, GHSA-273p-m2cw-6833)
func TestGHSAfrqx(t *testing.T) {
	for kind, text := range proposals(t) {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		mutate(v, func() {
			b, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			p, err := entry.ParseProposal(b)
			if err == nil {
				sound(t, p)
				err = p.Verify()
			}
			if err != nil && sigbox.KindOf(err) == sigbox.Internal {
				t.Errorf("%s: %v\n%s", kind, err, b)
			}
			if _, err := entry.ParseQuery(fmt.Appendf(nil, `{"entries":[%s,null]}`, b)); err == nil {
				t.Errorf("%s: a null was taken for an entry", kind)
			}
		})
	}
}

// TestGHSA2h5h: nothing is decompressed, and what no kind takes is refused by its
// name before it is read. (rekor GHSA-2h5h-59f5-c5x9, GHSA-47q9-m4ww-924m)
func TestGHSA2h5h(t *testing.T) {
	for _, kind := range []string{"jar", "alpine", "rpm", "helm", "tuf", "cose", "rekord"} {
		_, err := entry.ParseProposal(propose(kind, "0.0.1", `{"archive":{"content":"UEsDBA=="},"package":{"content":"H4sIAA=="}}`))
		refused(t, err, sigbox.Invalid, "are not taken")
	}
}

// TestRealBodies makes the proposals that the conformance suite's v1 entries came
// from, and their leaves again, byte for byte.
func TestRealBodies(t *testing.T) {
	paths, _ := filepath.Glob(filepath.Join("..", "..", "..", "shared", "conformance", "bundle-verify", "*", "bundle.sigstore.json"))
	if len(paths) == 0 {
		t.Skip("the conformance bundles are not beside this repository")
	}
	found := map[string]int{}
	for _, path := range paths {
		name := filepath.Base(filepath.Dir(path))
		for _, raw := range conformanceEntries(t, path) {
			le, err := entry.ParseLogEntry(raw)
			if err != nil {
				continue
			}
			b, err := entry.ParseBody(le.Body)
			if err != nil || b.Kind == entry.KindDSSE || b.Kind == entry.KindHashedRekord && b.Version != entry.Version001 {
				continue
			}
			proposed, logged := le.Body, le.Body
			if b.Kind == entry.KindInToto {
				proposed, logged = payloads(t, path, le.Body)
			}
			p, err := entry.ParseProposal(proposed)
			if err != nil || !bytes.Equal(p.Leaf(), logged) {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if err := p.Verify(); err != nil && !strings.HasSuffix(name, "_fail") {
				t.Errorf("%s: %v", name, err)
			}
			found[b.Kind]++
		}
	}
	if found[entry.KindHashedRekord] < 10 || found[entry.KindInToto] < 1 {
		t.Errorf("only %v of %d bundles", found, len(paths))
	}
}

// payloads gives an intoto entry with the payload of its bundle, as it is proposed,
// and without, as it is logged; the suite's have it in the log.
func payloads(t *testing.T, path string, body []byte) (with, without []byte) {
	t.Helper()
	var bundle struct {
		DSSEEnvelope struct{ Payload string }
	}
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &bundle)
	}
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
		Spec       struct {
			Content map[string]any `json:"content"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		t.Fatal(err)
	}
	write := func() []byte {
		out, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return canonicalize(t, out)
	}
	envelope := v.Spec.Content["envelope"].(map[string]any)
	envelope["payload"] = b64([]byte(bundle.DSSEEnvelope.Payload))
	with = write()
	delete(envelope, "payload")
	return with, write()
}

func TestID(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := entry.ID{Tree: rapid.Uint64().Draw(t, "tree"), Leaf: [32]byte(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "leaf"))}
		got, err := entry.ParseID(id.String())
		if err != nil || got != id {
			t.Fatalf("%v: expected %v, found %v", err, id, got)
		}
	})
	hex := strings.Repeat("0123456789abcdef", 5)
	if id, err := entry.ParseID(strings.ToUpper(hex)); err != nil || id.String() != hex {
		t.Errorf("%v, %v", id, err)
	}
	for _, s := range []string{"", "00", hex[:63], hex[:65], hex[:79], hex + "0", strings.Repeat("g", 64), strings.Repeat("é", 40)} {
		if _, err := entry.ParseID(s); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestParseQuery(t *testing.T) {
	good := proposals(t)["hashedrekord"]
	id := entry.ID{Tree: 7, Leaf: [32]byte{1}}
	q, err := entry.ParseQuery(fmt.Appendf(nil, `{"entryUUIDs":[%q,%q],"logIndexes":[0,9],"entries":[%s]}`, id, entry.ID{Leaf: id.Leaf}, good))
	if err != nil || len(q.IDs) != 2 || q.IDs[0] != id || q.IDs[1].Tree != 0 || !slices.Equal(q.Indexes, []int64{0, 9}) || len(q.Proposals) != 1 || string(q.Proposals[0].Leaf()) != good {
		t.Fatalf("%v: %+v", err, q)
	}
	if q, err := entry.ParseQuery([]byte(`{"entryUUIDs":null,"logIndexes":[],"entries":null}`)); err != nil || len(q.IDs)+len(q.Indexes)+len(q.Proposals) > 0 {
		t.Errorf("%v: %+v", err, q)
	}
	for body, kind := range map[string]sigbox.Kind{
		`{"logIndexes":[0,1,2,3,4,5,6,7,8,9,10]}`:                                   sigbox.TooLarge,
		`{"logIndexes":[0,1,2,3,4,5,6,7,8,9],"entryUUIDs":["` + id.String() + `"]}`: sigbox.TooLarge,
		`{"logIndexes":[-1]}`:                  sigbox.Invalid,
		`{"logIndexes":[null]}`:                sigbox.Invalid,
		`{"logIndexes":[9223372036854775808]}`: sigbox.Invalid,
		`{"entryUUIDs":["00"]}`:                sigbox.Invalid,
		`{"entryUUIDs":[null]}`:                sigbox.Invalid,
		`{"entries":[{}]}`:                     sigbox.Invalid,
		`{"entries":[null]}`:                   sigbox.Invalid,
		`{"log_indexes":[1],"logIndexes":[1]}`: sigbox.Invalid,
		`[]`:                                   sigbox.Invalid,
		``:                                     sigbox.Invalid,
	} {
		if _, err := entry.ParseQuery([]byte(body)); err == nil || sigbox.KindOf(err) != kind {
			t.Errorf("%s: expected %s, found %v", body, kind, err)
		}
	}
}

// TestAppendEntry: encoding/json reads what a v1 log answers.
func TestAppendEntry(t *testing.T) {
	le := sigbox.LogEntry{
		LogIndex: 7, LogID: bytes.Repeat([]byte{1}, 32), IntegratedTime: 1700000000, Body: []byte(`{}`), SignedEntryTimestamp: []byte("set"),
		Inclusion: &sigbox.Inclusion{LogIndex: 7, TreeSize: 8, RootHash: bytes.Repeat([]byte{2}, 32), Hashes: [][]byte{bytes.Repeat([]byte{3}, 32)}, Checkpoint: "log - 1\n8\n— \"\n"},
	}
	id := entry.ID{Tree: 1, Leaf: [32]byte{9}}
	text := entry.AppendEntry([]byte("x"), id, &le)[1:]
	if !bytes.Equal(canonicalize(t, text), text) {
		t.Errorf("not canonical: %s", text)
	}
	var got map[string]struct {
		Body           []byte
		IntegratedTime int64
		LogID          string
		LogIndex       int64
		Verification   struct {
			InclusionProof struct {
				Checkpoint, RootHash string
				Hashes               []string
				LogIndex, TreeSize   int64
			}
			SignedEntryTimestamp []byte
		}
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	e, ok := got[id.String()]
	p := e.Verification.InclusionProof
	if !ok || string(e.Body) != "{}" || e.IntegratedTime != 1700000000 || e.LogIndex != 7 || e.LogID != strings.Repeat("01", 32) || string(e.Verification.SignedEntryTimestamp) != "set" ||
		p.Checkpoint != le.Inclusion.Checkpoint || p.RootHash != strings.Repeat("02", 32) || len(p.Hashes) != 1 || p.Hashes[0] != strings.Repeat("03", 32) || p.LogIndex != 7 || p.TreeSize != 8 {
		t.Errorf("%+v", got)
	}
	le.Inclusion.Hashes = nil
	if text := entry.AppendEntry(nil, id, &le); !bytes.Contains(text, []byte(`"hashes":[]`)) {
		t.Errorf("no hashes are no list: %s", text)
	}
}

// FuzzParseProposal: what is read has a leaf, which says the same, and verifying it
// does not panic.
func FuzzParseProposal(f *testing.F) {
	for _, text := range proposals(f) {
		f.Add([]byte(text))
	}
	all := signers(f)
	e := (&envelope{payload: "{}", signers: all[:2]}).sign(f)
	f.Add(e.dsse(all[1].pem, all[0].pem))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := entry.ParseProposal(b)
		if err != nil {
			return
		}
		sound(t, p)
		_ = p.Verify()
		if p.Kind == entry.KindHashedRekord || p.Kind == entry.KindRFC3161 {
			again, err := entry.ParseProposal(p.Leaf())
			if err != nil || !bytes.Equal(again.Leaf(), p.Leaf()) {
				t.Fatalf("the leaf proposes another: %v", err)
			}
		}
	})
}

// FuzzParseQuery: what is read is within bounds.
func FuzzParseQuery(f *testing.F) {
	f.Add([]byte(`{"entryUUIDs":["` + strings.Repeat("ab", 32) + `"],"logIndexes":[1],"entries":[]}`))
	for _, text := range proposals(f) {
		f.Add([]byte(`{"entries":[` + text + `]}`))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		q, err := entry.ParseQuery(b)
		if err == nil && len(q.IDs)+len(q.Indexes)+len(q.Proposals) > entry.MaxQueries {
			t.Fatal("too many queries")
		}
		for _, p := range q.Proposals {
			sound(t, p)
		}
	})
}

func BenchmarkParseProposal(b *testing.B) {
	for kind, text := range proposals(b) {
		b.Run(kind, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := entry.ParseProposal([]byte(text)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
