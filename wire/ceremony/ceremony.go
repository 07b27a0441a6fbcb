// Package ceremony is what an instance and the keepers of its roots hand each other: a
// request with the public halves of the instance's keys, and the answer with the
// certificates and the TUF root that were signed for them.
//
//	req := &ceremony.Request{Instance: host, URL: url, Made: now, TUF: &ceremony.TUFRequest{…}}
//	err := req.Prove(signers)        // each key that is asked for asks itself
//	file, err := req.Bytes()
//
//	req, err := ceremony.ParseRequest(file)   // and answer it, elsewhere
//	answer := &ceremony.Answer{Request: *req, …}
//
// Both are JSON in one form: what is read and written again gives the same bytes. The
// private halves never leave where they are.
package ceremony

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
	"github.com/sigbox/sigbox/wire/tufroot"
)

const (
	requestType = "application/vnd.sigbox.ceremony.request.v1+json"
	answerType  = "application/vnd.sigbox.ceremony.answer.v1+json"

	// MaxSize of a request or an answer, in bytes.
	MaxSize = 8 << 20
	// MaxRoots is how many TUF roots a request holds at most.
	MaxRoots = 64

	maxURL         = 200
	maxKey         = 1 << 10
	maxCertificate = 64 << 10
	maxNumber      = 10_000
)

// Authority is a role whose key is certified by a root.
type Authority string

// The authorities of an instance.
const (
	CA  Authority = "ca"  // the certificate authority; its key becomes an intermediate's
	TSA Authority = "tsa" // the timestamp authority; its key becomes a leaf's
)

// tufRole is the role of the key that signs TUF's other metadata.
const tufRole = "tuf"

// Request is what an instance asks the keepers of its roots for.
type Request struct {
	MediaType string `json:"mediaType"`
	// Instance is the hostname of the instance's log, which never changes.
	Instance string `json:"instance"`
	// URL is where clients reach it.
	URL string `json:"url"`
	// Made is when the request was, by the clock of the instance: a whole UTC second.
	Made time.Time `json:"made"`
	// Authorities are the keys to be certified.
	Authorities []AuthorityRequest `json:"authorities,omitempty"`
	// TUF asks for a root of the TUF repository; nil for none.
	TUF *TUFRequest `json:"tuf,omitempty"`
}

// AuthorityRequest asks for the certificates of a key.
type AuthorityRequest struct {
	Authority Authority `json:"authority"`
	// Number counts the authority's keys from 1.
	Number int `json:"number"`
	// Key is a DER SubjectPublicKeyInfo, ECDSA P-256.
	Key []byte `json:"key"`
	// Proof is Key's signature over the request.
	Proof []byte `json:"proof,omitempty"`
}

// TUFRequest asks for the TUF root that follows Roots.
type TUFRequest struct {
	// Online is the key for targets, snapshot and timestamp, a DER SubjectPublicKeyInfo.
	Online []byte `json:"online"`
	// Roots are the newest of the repository, the newest last; none for a new one.
	Roots []jsontext.Value `json:"roots,omitempty"`
	// Proof is Online's signature over the request.
	Proof []byte `json:"proof,omitempty"`
}

// Answer is what the keepers of the roots give back, as far as they have come.
type Answer struct {
	MediaType string `json:"mediaType"`
	// Request is the one that is answered.
	Request Request `json:"request"`
	// Chains are the certificates that were made.
	Chains []Chain `json:"chains,omitempty"`
	// Root is the TUF root, with the signatures that it has so far; absent before the
	// first.
	Root jsontext.Value `json:"root,omitempty"`
}

// Chain are the certificates of a key, DER, its own first and the root last.
type Chain struct {
	Authority    Authority `json:"authority"`
	Number       int       `json:"number"`
	Certificates [][]byte  `json:"certificates"`
}

// ParseRequest reads a request, in the one form that it has, and checks that each key in
// it asks for what it says. Errors: Invalid, TooLarge, NotVerified.
func ParseRequest(file []byte) (*Request, error) {
	var r Request
	if err := parse("ceremony request", file, &r); err != nil {
		return nil, err
	}
	if err := r.check(); err != nil {
		return nil, err
	}
	return &r, sameForm("ceremony request", file, r.Bytes)
}

// ParseAnswer reads an answer and the request in it, as [ParseRequest] does. What it
// answers is not judged here.
func ParseAnswer(file []byte) (*Answer, error) {
	var a Answer
	if err := parse("ceremony answer", file, &a); err != nil {
		return nil, err
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	return &a, sameForm("ceremony answer", file, a.Bytes)
}

// IsAnswer reports whether a file is an answer, so far as it is one of both.
func IsAnswer(file []byte) bool {
	return bytes.Contains(file[:min(len(file), 200)], []byte(`"`+answerType+`"`))
}

func parse(what string, file []byte, v any) error {
	if len(file) > MaxSize {
		return sigbox.Errorf(sigbox.TooLarge, "%s: at most %d bytes are read", what, MaxSize)
	}
	if err := json.Unmarshal(file, v, json.RejectUnknownMembers(true)); err != nil {
		return jsonerr.Of(what, err)
	}
	return nil
}

// sameForm refuses what is written another way than we do: two readers of one file see
// the same, and its SHA-256 stands for what it says.
func sameForm(what string, file []byte, write func() ([]byte, error)) error {
	again, err := write()
	if err == nil && !bytes.Equal(file, again) {
		err = sigbox.Errorf(sigbox.Invalid, "%s: it is not written in the form that sigbox writes", what).
			WithHint("take the file as it was made, not a copy that was edited")
	}
	return err
}

// Bytes is the request as a file.
func (r *Request) Bytes() ([]byte, error) {
	r.MediaType = requestType
	return encode(r)
}

// Bytes is the answer as a file.
func (a *Answer) Bytes() ([]byte, error) {
	a.MediaType, a.Request.MediaType = answerType, requestType
	return encode(a)
}

func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "ceremony").WithCause(err)
	}
	return append(b, '\n'), nil
}

// payload is what a key signs to prove that who asks has it: a text that no key of an
// instance signs otherwise, with all that is asked for.
func (r *Request) payload(role string) ([]byte, error) {
	bare := *r
	bare.Authorities = append([]AuthorityRequest(nil), r.Authorities...)
	for i := range bare.Authorities {
		bare.Authorities[i].Proof = nil
	}
	if r.TUF != nil {
		tuf := *r.TUF
		tuf.Proof = nil
		bare.TUF = &tuf
	}
	body, err := bare.Bytes()
	return append([]byte("sigbox ceremony request, by the key "+role+"\n"), body...), err
}

// Prove has each key that is asked for sign the request. signer gives the keys by their
// roles, "ca", "tsa" and "tuf".
func (r *Request) Prove(signer func(role string) (crypto.Signer, error)) error {
	return r.eachKey(func(role string, _ []byte, proof *[]byte) error {
		key, err := signer(role)
		if err != nil {
			return err
		}
		details, err := sigbox.DetailsOf(key.Public())
		if err != nil {
			return err
		}
		input, err := r.payload(role)
		if err != nil {
			return err
		}
		if h := details.Hash(); h.Valid() {
			input = h.Sum(input).Value
		}
		*proof, err = key.Sign(rand.Reader, input, details.SignerOpts())
		return err
	})
}

// eachKey calls f for every key that the request is about.
func (r *Request) eachKey(f func(role string, key []byte, proof *[]byte) error) error {
	for i := range r.Authorities {
		a := &r.Authorities[i]
		if err := f(string(a.Authority), a.Key, &a.Proof); err != nil {
			return err
		}
	}
	if r.TUF != nil {
		return f(tufRole, r.TUF.Online, &r.TUF.Proof)
	}
	return nil
}

// check refuses a request that asks for what no instance does.
func (r *Request) check() error {
	if r.MediaType != requestType {
		return sigbox.Errorf(sigbox.Invalid, "ceremony request: it is not of the type %s", requestType)
	}
	if !validHostname(r.Instance) {
		return sigbox.Errorf(sigbox.Invalid, "ceremony request: the instance has no name that is a hostname")
	}
	if err := checkURL(r.URL); err != nil {
		return err
	}
	if r.Made.IsZero() || r.Made.Nanosecond() != 0 || r.Made.Location() != time.UTC {
		return sigbox.Errorf(sigbox.Invalid, "ceremony request: expected the time at which it was made, in whole seconds and UTC")
	}
	if len(r.Authorities) == 0 && r.TUF == nil {
		return sigbox.Errorf(sigbox.Invalid, "ceremony request: it asks for nothing")
	}
	if err := r.checkAuthorities(); err != nil {
		return err
	}
	if r.TUF != nil && len(r.TUF.Roots) > MaxRoots {
		return sigbox.Errorf(sigbox.TooLarge, "ceremony request: more than %d TUF roots", MaxRoots)
	}
	return r.checkKeys()
}

func (r *Request) checkAuthorities() error {
	seen := map[Authority]bool{}
	for _, a := range r.Authorities {
		if a.Authority != CA && a.Authority != TSA || seen[a.Authority] {
			return sigbox.Errorf(sigbox.Invalid, "ceremony request: expected the authorities ca and tsa, each once")
		}
		seen[a.Authority] = true
		if a.Number < 1 || a.Number > maxNumber {
			return sigbox.Errorf(sigbox.Invalid, "ceremony request: expected a number from 1 to %d for the key of %s", maxNumber, a.Authority)
		}
	}
	return nil
}

// checkKeys wants keys that roots sign for, each for one purpose, with their proofs.
func (r *Request) checkKeys() error {
	seen := map[string]bool{}
	return r.eachKey(func(role string, der []byte, proof *[]byte) error {
		pub, err := parseKey(der)
		if err != nil {
			return sigbox.Errorf(sigbox.KindOf(err), "ceremony request: the key %s: %w", role, err)
		}
		if seen[string(der)] {
			return sigbox.Errorf(sigbox.Invalid, "ceremony request: a key is asked for twice, in different roles")
		}
		seen[string(der)] = true
		input, err := r.payload(role)
		if err != nil {
			return err
		}
		details, err := sigbox.DetailsOf(pub)
		if err != nil {
			return err
		}
		if err := details.VerifyMessage(pub, input, *proof); err != nil {
			return sigbox.Errorf(sigbox.NotVerified, "ceremony request: who has made it does not prove to have the key %s", role).WithCause(err)
		}
		return nil
	})
}

// parseKey reads a key of an instance that roots sign for.
func parseKey(der []byte) (crypto.PublicKey, error) {
	if len(der) > maxKey {
		return nil, sigbox.Errorf(sigbox.TooLarge, "at most %d bytes are read", maxKey)
	}
	pub, err := sigbox.ParsePublicKey(der)
	if err != nil {
		return nil, err
	}
	if err := sigbox.ECDSAP256SHA256.CheckKey(pub); err != nil {
		return nil, err
	}
	again, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil || !bytes.Equal(again, der) {
		return nil, sigbox.Errorf(sigbox.Invalid, "expected a SubjectPublicKeyInfo in DER, and nothing after it")
	}
	return pub, nil
}

// Public gives the key that is to be certified.
func (a AuthorityRequest) Public() (crypto.PublicKey, error) { return parseKey(a.Key) }

// Public gives the key for targets, snapshot and timestamp.
func (t *TUFRequest) Public() (crypto.PublicKey, error) { return parseKey(t.Online) }

// RequestedKey is a key that a request is about, as people compare it.
type RequestedKey struct {
	Role        string
	Fingerprint string
}

// Keys are the keys that the request is about.
func (r *Request) Keys() (list []RequestedKey, err error) {
	return list, r.eachKey(func(role string, der []byte, _ *[]byte) error {
		fingerprint := Fingerprint(der)
		if role == tufRole {
			fingerprint, err = TUFFingerprint(der)
		}
		list = append(list, RequestedKey{role, fingerprint})
		return err
	})
}

// Fingerprint is by what people compare keys: the SHA-256 of a SubjectPublicKeyInfo.
func Fingerprint(der []byte) string { return "SHA256:" + sigbox.SHA256.Sum(der).Hex() }

// TUFFingerprint is by what people compare keys of TUF, of which they see the IDs.
func TUFFingerprint(der []byte) (string, error) {
	pub, err := sigbox.ParsePublicKey(der)
	if err != nil {
		return "", err
	}
	key, err := tufroot.NewKey(pub)
	return "TUF:" + key.ID, err
}

// Present gives the newest root of the repository, nil for a new one, and those before it
// that the request holds, of which each leads to the next.
func (t *TUFRequest) Present() (newest *tufroot.Root, all []*tufroot.Root, err error) {
	for i, file := range t.Roots {
		root, err := tufroot.Parse(file)
		if err != nil {
			return nil, nil, err
		}
		if i > 0 {
			err = tufroot.Follows(newest, root)
		} else {
			err = root.Check(root.Root)
		}
		if err != nil {
			return nil, nil, sigbox.Errorf(sigbox.KindOf(err), "ceremony request: version %d of the TUF root: %w", root.Version, err)
		}
		newest, all = root, append(all, root)
	}
	return newest, all, nil
}

// AppendRoot writes a root's file to others, as JSON that stands in JSON.
func AppendRoot(roots []jsontext.Value, file []byte) ([]jsontext.Value, error) {
	root := jsontext.Value(bytes.Clone(file))
	if err := root.Compact(); err != nil {
		return nil, jsonerr.Of("TUF root", err)
	}
	return append(roots, root), nil
}

// check refuses an answer that is not formed as one.
func (a *Answer) check() error {
	if a.MediaType != answerType {
		return sigbox.Errorf(sigbox.Invalid, "ceremony answer: it is not of the type %s", answerType)
	}
	if err := a.Request.check(); err != nil {
		return err
	}
	seen := map[Authority]bool{}
	for _, c := range a.Chains {
		if seen[c.Authority] || !a.Request.asksFor(c.Authority, c.Number) {
			return sigbox.Errorf(sigbox.Invalid, "ceremony answer: it has certificates that were not asked for")
		}
		seen[c.Authority] = true
		if len(c.Certificates) != 2 {
			return sigbox.Errorf(sigbox.Invalid, "ceremony answer: expected the certificate of %s and its root's", c.Authority)
		}
		for _, der := range c.Certificates {
			if len(der) > maxCertificate {
				return sigbox.Errorf(sigbox.TooLarge, "ceremony answer: a certificate of more than %d bytes", maxCertificate)
			}
		}
	}
	if len(a.Root) > 0 && a.Request.TUF == nil {
		return sigbox.Errorf(sigbox.Invalid, "ceremony answer: it has a TUF root that was not asked for")
	}
	return nil
}

func (r *Request) asksFor(authority Authority, number int) bool {
	for _, a := range r.Authorities {
		if a.Authority == authority && a.Number == number {
			return true
		}
	}
	return false
}

// Chain gives the certificates for an authority, nil while there are none.
func (a *Answer) Chain(authority Authority) [][]byte {
	for _, c := range a.Chains {
		if c.Authority == authority {
			return c.Certificates
		}
	}
	return nil
}

// Next gives the TUF root of the answer and the one that it follows, which is nil for
// the first. The root is nil while there is none. It must be the next, be signed by
// nobody but the keys of both, and name the key that was asked for; how many have signed
// it is for [Answer.Missing].
func (a *Answer) Next() (next, present *tufroot.Root, err error) {
	if a.Request.TUF == nil || len(a.Root) == 0 {
		return nil, nil, nil
	}
	if present, _, err = a.Request.TUF.Present(); err != nil {
		return nil, nil, err
	}
	if next, err = tufroot.Parse(a.Root); err != nil {
		return nil, nil, err
	}
	version, policies := int64(1), []tufroot.Policy{next.Root}
	if present != nil {
		version, policies = present.Version+1, append(policies, present.Root)
	}
	if next.Version != version {
		return nil, nil, sigbox.Mismatch(sigbox.Invalid, "ceremony answer: the version of the TUF root", version, next.Version)
	}
	if err := next.CheckSignatures(policies...); err != nil {
		return nil, nil, err
	}
	pub, err := a.Request.TUF.Public()
	if err != nil {
		return nil, nil, err
	}
	key, err := tufroot.NewKey(pub)
	if err != nil {
		return nil, nil, err
	}
	if online, one := next.Online(); !one || !online.Equal(tufroot.Only(key)) {
		return nil, nil, sigbox.Errorf(sigbox.Invalid, "ceremony answer: the TUF root names another key for targets, snapshot and timestamp than was asked for")
	}
	return next, present, nil
}

// Missing says what an answer still lacks, in words for people; nothing when it is whole.
func (a *Answer) Missing() (missing []string, err error) {
	for _, r := range a.Request.Authorities {
		if a.Chain(r.Authority) == nil {
			missing = append(missing, "the certificate of "+string(r.Authority))
		}
	}
	if a.Request.TUF == nil {
		return missing, nil
	}
	next, present, err := a.Next()
	if err != nil {
		return nil, err
	}
	if next == nil {
		return append(missing, "the TUF root"), nil
	}
	if present != nil {
		if missing, err = appendLacking(missing, next, present.Root, "of the TUF root's present keys"); err != nil {
			return nil, err
		}
	}
	return appendLacking(missing, next, next.Root, "of its own keys")
}

// appendLacking adds how many signatures of a policy's keys a root still needs.
func appendLacking(missing []string, root *tufroot.Root, p tufroot.Policy, whose string) ([]string, error) {
	signers, err := root.Signers(p)
	switch n := p.Threshold - len(signers); {
	case err != nil:
		return nil, err
	case n == 1:
		missing = append(missing, "1 more signature "+whose)
	case n > 1:
		missing = append(missing, strconv.Itoa(n)+" more signatures "+whose)
	}
	return missing, nil
}

// validHostname is what logs of instances are called.
func validHostname(s string) bool {
	return len(s) <= 253 && regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`).MatchString(s)
}

// checkURL wants an address that people can read: what stands in it is shown to them.
func checkURL(s string) error {
	u, err := url.Parse(s)
	ok := err == nil && (u.Scheme == "https" || u.Scheme == "http") && len(s) <= maxURL &&
		regexp.MustCompile(`^[a-z]+://[a-zA-Z0-9.:\[\]-]+(/[a-zA-Z0-9._~/-]*)?$`).MatchString(s)
	if !ok {
		return sigbox.Errorf(sigbox.Invalid, "ceremony request: the instance's URL: expected http or https, a host, and letters that can be read")
	}
	return nil
}
