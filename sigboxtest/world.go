// Package sigboxtest is a whole signing world in memory, for tests: certificate
// authority, certificate log, transparency logs of both versions, timestamp
// authority, and the trust root that lists them. It signs bundles, and makes
// bundles with one chosen fault each ([Faults]: the forger has keys) and files with
// one change each ([Mutations], [Swaps]: the forger has none).
//
//	w := sigboxtest.New(t)
//	b := w.Sign([]byte("artifact"), sigboxtest.Options{})
//	v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{w.Root()}})
//
// Nothing in it is for production: keys are made for the test, and it signs
// whatever it is told to.
package sigboxtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// Now is when things are signed in every world.
func Now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// DefaultIdentity is who signs unless told otherwise.
func DefaultIdentity() sigbox.Identity {
	return sigbox.Identity{Issuer: "https://id.example", Subject: "ada@example.com", Kind: sigbox.EmailSAN}
}

// World is a set of services that trust each other. It is safe for concurrent use.
type World struct {
	tb   testing.TB
	name string

	root *issuer // self-signed
	// The intermediates that the root of trust lists: the one in use, and for
	// faults one that expired, one that the trust root has retired, one that is
	// not for code signing and one below an authority that allows none.
	ca, expired, retired, foreignUse, tooDeep *issuer
	deepParent                                *issuer
	ct                                        *certificateLog
	v1, v2                                    *log
	tsa                                       *stamper

	mu       sync.Mutex
	keys     map[sigbox.KeyDetails]crypto.Signer // guarded by mu: slow to make
	stranger *World                              // guarded by mu
}

// issuer is an authority's certificate with its key.
type issuer struct {
	cert *x509.Certificate
	key  crypto.Signer
}

type certificateLog struct {
	key crypto.Signer
	id  [32]byte
}

type stamper struct {
	chain  [][]byte
	signer *timestamp.Signer
}

// New makes a world.
func New(tb testing.TB) *World {
	tb.Helper()
	return newWorld(tb, "example")
}

func newWorld(tb testing.TB, name string) *World {
	tb.Helper()
	w := &World{tb: tb, name: name, keys: make(map[sigbox.KeyDetails]crypto.Signer)}
	w.root = w.issue(w.authority("root"), nil)
	w.ca = w.issue(w.authority("ca"), w.root)

	old := w.authority("expired ca")
	old.NotAfter = Now().AddDate(0, -1, 0)
	w.expired = w.issue(old, w.root)
	w.retired = w.issue(w.authority("retired ca"), w.root)
	tls := w.authority("tls ca")
	tls.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	w.foreignUse = w.issue(tls, w.root)
	narrow := w.authority("narrow ca")
	narrow.MaxPathLenZero = true
	w.deepParent = w.issue(narrow, w.root)
	w.tooDeep = w.issue(w.authority("deep ca"), w.deepParent)

	key := w.Key(sigbox.ECDSAP256SHA256)
	id, err := cert.LogID(key.Public())
	w.must(err)
	w.ct = &certificateLog{key, id}
	w.v1 = w.newLog("v1.log."+name, "v1.log."+name+" - 1", w.Key(sigbox.ECDSAP256SHA256))
	w.v2 = w.newLog("v2.log."+name, "v2.log."+name, w.Key(sigbox.Ed25519))
	w.tsa = w.newStamper()
	return w
}

func (w *World) must(err error) {
	w.tb.Helper()
	if err != nil {
		w.tb.Fatal("sigboxtest: ", err)
	}
}

// Key makes a key for an algorithm. RSA keys, which take long, are made once.
func (w *World) Key(k sigbox.KeyDetails) crypto.Signer {
	w.tb.Helper()
	var key crypto.Signer
	var err error
	switch k {
	case sigbox.ECDSAP256SHA256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case sigbox.ECDSAP384SHA384, sigbox.ECDSAP384SHA256:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case sigbox.ECDSAP521SHA512, sigbox.ECDSAP521SHA256:
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case sigbox.Ed25519, sigbox.Ed25519ph:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case sigbox.RSAPKCS1v15With2048, sigbox.RSAPSSWith2048:
		return w.rsaKey(k, 2048)
	case sigbox.RSAPKCS1v15With3072, sigbox.RSAPSSWith3072:
		return w.rsaKey(k, 3072)
	case sigbox.RSAPKCS1v15With4096, sigbox.RSAPSSWith4096:
		return w.rsaKey(k, 4096)
	default:
		w.tb.Fatalf("sigboxtest: no key for %v", k)
	}
	w.must(err)
	return key
}

func (w *World) rsaKey(k sigbox.KeyDetails, bits int) crypto.Signer {
	w.mu.Lock()
	defer w.mu.Unlock()
	if key, ok := w.keys[k]; ok {
		return key
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	w.must(err)
	w.keys[k] = key
	return key
}

// serial gives a random serial number.
func (w *World) serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	w.must(err)
	return n.Add(n, big.NewInt(1))
}

// authority is the template of a certificate authority's certificate, valid for a
// year before and nine after [Now].
func (w *World) authority(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: w.serial(), Subject: pkix.Name{Organization: []string{w.name}, CommonName: name},
		NotBefore: Now().AddDate(-1, 0, 0), NotAfter: Now().AddDate(9, 0, 0),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true,
	}
}

// issue makes an authority's certificate, self-signed without a parent.
func (w *World) issue(template *x509.Certificate, parent *issuer) *issuer {
	key := w.Key(sigbox.ECDSAP256SHA256)
	signer := &issuer{template, key}
	if parent != nil {
		signer = parent
	}
	return &issuer{w.certify(template, signer, key.Public()), key}
}

// certify makes a certificate.
func (w *World) certify(template *x509.Certificate, by *issuer, pub crypto.PublicKey) *x509.Certificate {
	w.tb.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, by.cert, pub, by.key)
	w.must(err)
	c, err := x509.ParseCertificate(der)
	w.must(err)
	return c
}

// newStamper makes a timestamp authority below a root of its own.
func (w *World) newStamper() *stamper {
	root := w.issue(w.authority("tsa root"), nil)
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}}) // timeStamping
	w.must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{Organization: []string{w.name}, CommonName: "tsa"},
		NotBefore: Now().AddDate(-1, 0, 0), NotAfter: Now().AddDate(9, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}}, // RFC 3161 §2.3
	}
	key := w.Key(sigbox.ECDSAP256SHA256)
	chain := [][]byte{w.certify(template, root, key.Public()).Raw, root.cert.Raw}
	signer, err := timestamp.NewSigner(timestamp.SignerConfig{Key: key, Chain: chain})
	w.must(err)
	return &stamper{chain, signer}
}

// stamp makes a timestamp.
func (s *stamper) stamp(over []byte, at time.Time, serial *big.Int) ([]byte, error) {
	return s.signer.Respond(timestamp.Request{Digest: sigbox.SHA256.Sum(over), Certificates: true}, at, serial)
}

// other gives a world that this one knows nothing of, with the same names.
func (w *World) other() *World {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.stranger == nil {
		w.stranger = newWorld(w.tb, w.name)
	}
	return w.stranger
}

// Root is the trust root that lists the world's services. The caller may change it.
func (w *World) Root() *sigbox.TrustedRoot {
	always := sigbox.TimeRange{Start: Now().AddDate(0, -6, 0)}
	ca := func(validFor sigbox.TimeRange, chain ...*issuer) sigbox.CertificateAuthority {
		out := sigbox.CertificateAuthority{Organization: w.name, CommonName: "ca", URI: "https://ca." + w.name, ValidFor: validFor}
		for _, c := range chain {
			out.Chain = append(out.Chain, c.cert.Raw)
		}
		return out
	}
	past := sigbox.TimeRange{Start: always.Start, End: Now().AddDate(0, -1, 0)}
	return &sigbox.TrustedRoot{
		Logs: []sigbox.TransparencyLog{w.listing(w.v2, always), w.listing(w.v1, always)},
		CertificateAuthorities: []sigbox.CertificateAuthority{
			ca(always, w.ca, w.root), ca(always, w.expired, w.root), ca(past, w.retired, w.root),
			ca(always, w.foreignUse, w.root), ca(always, w.tooDeep, w.deepParent, w.root),
		},
		CTLogs: []sigbox.TransparencyLog{{
			BaseURL: "https://ct." + w.name, HashAlgorithm: sigbox.SHA256, PublicKey: w.spki(w.ct.key.Public()),
			Details: sigbox.ECDSAP256SHA256, ValidFor: always, LogID: w.ct.id[:],
		}},
		TimestampAuthorities: []sigbox.CertificateAuthority{{
			Organization: w.name, CommonName: "tsa", URI: "https://tsa." + w.name, Chain: w.tsa.chain, ValidFor: always,
		}},
	}
}

// listing is a log in the trust root: by its host, with the key ID of its kind.
func (w *World) listing(l *log, validFor sigbox.TimeRange) sigbox.TransparencyLog {
	details, err := sigbox.DetailsOf(l.key.Public())
	w.must(err)
	return sigbox.TransparencyLog{
		BaseURL: "https://" + l.host, HashAlgorithm: sigbox.SHA256, PublicKey: w.spki(l.key.Public()),
		Details: details, ValidFor: validFor, LogID: l.id,
	}
}

func (w *World) spki(pub crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(pub)
	w.must(err)
	return der
}

// newLog makes a transparency log with a few leaves in it.
func (w *World) newLog(host, origin string, key crypto.Signer) *log {
	signer, err := note.NewSigner(host, key)
	w.must(err)
	id, err := note.LogID(host, key.Public())
	w.must(err)
	l := &log{host: host, origin: origin, key: key, signer: signer, id: id}
	for _, leaf := range []string{"first", "second", "third"} {
		_, err := l.add([]byte(leaf))
		w.must(err)
	}
	return l
}
