package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"sync"

	"github.com/miekg/pkcs11"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/keys/plugin"
)

// What the library's binding has no names for: PKCS #11 3.0, Edwards curves.
const (
	keyTypeEdwards    = 0x00000040 // CKK_EC_EDWARDS
	mechanismEdwards  = 0x00001057 // CKM_EDDSA
	generateEdwards   = 0x00001055 // CKM_EC_EDWARDS_KEY_PAIR_GEN
	sessions          = 16         // to a token, at most
	maxObjects        = 3          // looked for: one is wanted
	keyIDBytes        = 20
	rsaPublicExponent = 65537
)

// errNoKey says that the token is there and the key is not.
var errNoKey = errors.New("the token has no such key")

// token is a token that somebody is logged in to.
type token struct {
	library *pkcs11.Ctx
	first   bool // it has started the library, which ends for all at once
	slot    uint
	login   pkcs11.SessionHandle // held for as long as the token is used

	free chan pkcs11.SessionHandle // sessions that nobody uses
	all  chan struct{}             // a place for each session

	mu   sync.Mutex
	keys map[string]*key // by label and ID
}

// key is a pair on a token.
type key struct {
	private pkcs11.ObjectHandle
	public  crypto.PublicKey
}

// errWrongPIN says that a PIN need not be tried again.
var errWrongPIN = errors.New("the token does not take the PIN; it is tried again when it is another one")

func readPIN(uri keys.Token) (string, error) {
	pass, err := keys.PassphraseFrom(uri.PIN)
	if err != nil {
		return "", err
	}
	pin, err := pass()
	return string(pin), err
}

// openToken loads the library, finds the token and logs in.
func openToken(uri keys.Token, pin string) (_ *token, err error) {
	library := pkcs11.New(uri.Module)
	if library == nil {
		return nil, fmt.Errorf("the library %s cannot be loaded", uri.Module)
	}
	err = library.Initialize()
	first := err == nil
	if !first && !errors.Is(err, pkcs11.Error(pkcs11.CKR_CRYPTOKI_ALREADY_INITIALIZED)) {
		library.Destroy()
		return nil, fmt.Errorf("the library %s does not start: %w", uri.Module, err)
	}
	t := &token{
		library: library, first: first, free: make(chan pkcs11.SessionHandle, sessions), all: make(chan struct{}, sessions), keys: map[string]*key{},
	}
	if t.slot, err = t.find(uri); err == nil {
		err = t.logIn(pin)
	}
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *token) close() {
	if t.first {
		_ = t.library.Finalize() // logs out, too; nobody is left to be told
	}
	t.library.Destroy()
}

// find gives the slot of the token that a URI names.
func (t *token) find(uri keys.Token) (uint, error) {
	slots, err := t.library.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("the tokens cannot be listed: %w", err)
	}
	var found []uint
	for _, slot := range slots {
		info, err := t.library.GetTokenInfo(slot)
		if err != nil {
			continue // it was taken out just now
		}
		if is(uri.Slot, strconv.FormatUint(uint64(slot), 10)) && is(uri.Label, info.Label) && is(uri.Serial, info.SerialNumber) &&
			is(uri.Manufacturer, info.ManufacturerID) && is(uri.Model, info.Model) {
			found = append(found, slot)
		}
	}
	switch len(found) {
	case 0:
		return 0, errors.New("the token is not there")
	case 1:
		return found[0], nil
	}
	return 0, fmt.Errorf("%d tokens are called so: name the serial as well", len(found))
}

// is compares what a URI says with what a token says, which pads with spaces.
func is(want, got string) bool { return want == "" || want == strings.TrimRight(got, " \x00") }

func (t *token) logIn(pin string) error {
	session, err := t.library.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return fmt.Errorf("the token opens no session: %w", err)
	}
	t.login = session
	err = t.library.Login(session, pkcs11.CKU_USER, pin)
	code, _ := errors.AsType[pkcs11.Error](err)
	switch code {
	case pkcs11.CKR_OK, pkcs11.CKR_USER_ALREADY_LOGGED_IN:
		return nil
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED:
		return fmt.Errorf("%w (%s)", errWrongPIN, code.Error())
	}
	return fmt.Errorf("the token lets nobody in: %w", err)
}

// with lends a session to f. One that f failed with is not used again.
func (t *token) with(f func(pkcs11.SessionHandle) error) (err error) {
	t.all <- struct{}{}
	defer func() { <-t.all }()
	var session pkcs11.SessionHandle
	select {
	case session = <-t.free:
	default:
		if session, err = t.library.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION); err != nil {
			return fmt.Errorf("the token opens no session: %w", err)
		}
	}
	if err := f(session); err != nil {
		_ = t.library.CloseSession(session) // the first error counts
		return err
	}
	t.free <- session
	return nil
}

// named are the attributes that a URI gives.
func named(uri keys.Token, class uint) []*pkcs11.Attribute {
	list := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
	if uri.Object != "" {
		list = append(list, pkcs11.NewAttribute(pkcs11.CKA_LABEL, uri.Object))
	}
	if len(uri.ID) > 0 {
		list = append(list, pkcs11.NewAttribute(pkcs11.CKA_ID, uri.ID))
	}
	return list
}

// key finds a pair; what was found is kept.
func (t *token) key(uri keys.Token) (*key, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := uri.Object + "\x00" + string(uri.ID)
	if k := t.keys[name]; k != nil {
		return k, nil
	}
	k := &key{}
	err := t.with(func(session pkcs11.SessionHandle) (err error) {
		if k.private, err = t.one(session, named(uri, pkcs11.CKO_PRIVATE_KEY)); err != nil {
			return err
		}
		public, err := t.one(session, named(uri, pkcs11.CKO_PUBLIC_KEY))
		if errors.Is(err, errNoKey) {
			return errors.New("the token has the private key and not the public one: put that there under the same label and ID")
		}
		if err != nil {
			return err
		}
		k.public, err = t.read(session, public)
		return err
	})
	if err != nil {
		return nil, err
	}
	t.keys[name] = k
	return k, nil
}

// one finds the only object with these attributes.
func (t *token) one(session pkcs11.SessionHandle, attributes []*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	if err := t.library.FindObjectsInit(session, attributes); err != nil {
		return 0, fmt.Errorf("the token's keys cannot be looked for: %w", err)
	}
	found, _, err := t.library.FindObjects(session, maxObjects)
	if finalErr := t.library.FindObjectsFinal(session); err == nil {
		err = finalErr
	}
	switch {
	case err != nil:
		return 0, fmt.Errorf("the token's keys cannot be looked for: %w", err)
	case len(found) == 0:
		return 0, errNoKey
	case len(found) > 1:
		return 0, errors.New("the token has several keys that are called so: name the ID as well")
	}
	return found[0], nil
}

// read makes a public key of an object.
func (t *token) read(session pkcs11.SessionHandle, object pkcs11.ObjectHandle) (crypto.PublicKey, error) {
	kind, err := t.library.GetAttributeValue(session, object, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, nil)})
	if err != nil {
		return nil, fmt.Errorf("the public key cannot be read: %w", err)
	}
	switch number(kind[0].Value) {
	case pkcs11.CKK_RSA:
		a, err := t.library.GetAttributeValue(session, object, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS, nil), pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, nil),
		})
		if err != nil {
			return nil, fmt.Errorf("the public key cannot be read: %w", err)
		}
		e := new(big.Int).SetBytes(a[1].Value)
		if !e.IsInt64() {
			return nil, errors.New("the RSA key's exponent is too large")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(a[0].Value), E: int(e.Int64())}, nil
	case pkcs11.CKK_EC, keyTypeEdwards:
		a, err := t.library.GetAttributeValue(session, object, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil)})
		if err != nil {
			return nil, fmt.Errorf("the public key cannot be read: %w", err)
		}
		return point(a[0].Value, number(kind[0].Value) == keyTypeEdwards)
	}
	return nil, errors.New("the key is neither ECDSA nor Ed25519 nor RSA")
}

// number reads a CK_ULONG, which is in the machine's order of bytes: those that
// matter here fit one byte.
func number(b []byte) uint {
	for _, x := range b {
		if x != 0 {
			return uint(x)
		}
	}
	return 0
}

// point reads CKA_EC_POINT: DER of an OCTET STRING; some tokens leave that out.
func point(b []byte, edwards bool) (crypto.PublicKey, error) {
	raw := b
	if rest, err := asn1.Unmarshal(b, &raw); err != nil || len(rest) > 0 {
		raw = b
	}
	if edwards {
		if len(raw) != ed25519.PublicKeySize {
			return nil, errors.New("the key is on an Edwards curve that is not Ed25519")
		}
		return ed25519.PublicKey(raw), nil
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		if pub, err := ecdsa.ParseUncompressedPublicKey(curve, raw); err == nil {
			return pub, nil
		}
	}
	return nil, errors.New("the key is on a curve that is none of NIST's")
}

// pair are the templates of a key that is to be made.
func pair(details sigbox.KeyDetails) (mechanism uint, public []*pkcs11.Attribute, err error) {
	switch details {
	case sigbox.ECDSAP256SHA256:
		oid, err := asn1.Marshal(asn1.ObjectIdentifier{1, 2, 840, 10045, 3, 1, 7})
		return pkcs11.CKM_EC_KEY_PAIR_GEN, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, oid)}, err
	case sigbox.Ed25519:
		name, err := asn1.MarshalWithParams("edwards25519", "printable") // PKCS #11 3.0 §2.3.5
		return generateEdwards, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, name)}, err
	case sigbox.RSAPKCS1v15With2048:
		return pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_MODULUS_BITS, 2048),
			pkcs11.NewAttribute(pkcs11.CKA_PUBLIC_EXPONENT, big.NewInt(rsaPublicExponent).Bytes()),
		}, nil
	}
	return 0, nil, fmt.Errorf("no keys are made for %s", details)
}

// create makes a pair on the token that never leaves it.
func (t *token) create(uri keys.Token, details sigbox.KeyDetails) (*key, error) {
	mechanism, public, err := pair(details)
	if err != nil {
		return nil, err
	}
	id := uri.ID
	if len(id) == 0 {
		id = make([]byte, keyIDBytes)
		_, _ = rand.Read(id) // never fails
	}
	label := uri.Object
	common := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label), pkcs11.NewAttribute(pkcs11.CKA_ID, id),
	}
	public = append(append(public, common...), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true))
	private := append(bytesOf(common),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
	)
	err = t.with(func(session pkcs11.SessionHandle) error {
		_, _, err := t.library.GenerateKeyPair(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, public, private)
		if err != nil {
			return fmt.Errorf("the token makes no key for %s: %w", details, err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return t.key(uri)
}

// bytesOf is a copy that can be appended to.
func bytesOf(list []*pkcs11.Attribute) []*pkcs11.Attribute {
	return append([]*pkcs11.Attribute(nil), list...)
}

// sign signs a digest, or with an Ed25519 key a message.
func (t *token) sign(k *key, input []byte, hash crypto.Hash) ([]byte, error) {
	mechanism := uint(pkcs11.CKM_ECDSA)
	switch k.public.(type) {
	case ed25519.PublicKey:
		mechanism = mechanismEdwards
	case *rsa.PublicKey:
		mechanism, input = pkcs11.CKM_RSA_PKCS, append(digestInfo(hash), input...)
	}
	var sig []byte
	err := t.with(func(session pkcs11.SessionHandle) (err error) {
		if err = t.library.SignInit(session, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)}, k.private); err == nil {
			sig, err = t.library.Sign(session, input)
		}
		if err != nil {
			return fmt.Errorf("the token does not sign: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if _, ok := k.public.(*ecdsa.PublicKey); ok {
		return inDER(sig)
	}
	return sig, nil
}

// toSign says what is signed: an Ed25519 key signs the message, others a digest, which
// is given or is that of the message by the hash of the call.
func toSign(pub crypto.PublicKey, o plugin.MessageOptions, other uint, message []byte) (input []byte, hash crypto.Hash, err error) {
	if len(message) > maxMessage {
		return nil, 0, fmt.Errorf("a message of more than %d bytes is not signed", maxMessage)
	}
	if _, ok := pub.(ed25519.PublicKey); ok {
		if o.Digest != nil {
			return nil, 0, errors.New("an Ed25519 key signs messages and no digests")
		}
		return message, 0, nil
	}
	if hash = crypto.Hash(o.Hash); hash == 0 {
		hash = crypto.Hash(other)
	}
	if hash != crypto.SHA256 && hash != crypto.SHA384 && hash != crypto.SHA512 {
		return nil, 0, errors.New("expected a hash of SHA-256, SHA-384 or SHA-512")
	}
	if o.Digest == nil {
		h := hash.New()
		h.Write(message)
		return h.Sum(nil), hash, nil
	}
	if len(o.Digest) != hash.Size() {
		return nil, 0, fmt.Errorf("expected a digest of %d bytes", hash.Size())
	}
	return o.Digest, hash, nil
}

// digestInfo is what stands before a digest in a signature of PKCS #1 v1.5 (RFC 8017
// §9.2, note 1).
func digestInfo(h crypto.Hash) []byte {
	number := map[crypto.Hash]byte{crypto.SHA256: 1, crypto.SHA384: 2, crypto.SHA512: 3}[h]
	size := byte(h.Size()) // #nosec G115 -- 64 at most
	return []byte{0x30, 17 + size, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, number, 0x05, 0x00, 0x04, size}
}

// inDER makes r and s, as tokens have them one after the other, what everybody else has.
func inDER(sig []byte) ([]byte, error) {
	if len(sig) == 0 || len(sig)%2 != 0 {
		return nil, errors.New("the token's signature is not two numbers")
	}
	half := len(sig) / 2
	return asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(sig[:half]), new(big.Int).SetBytes(sig[half:])})
}
