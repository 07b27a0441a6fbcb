package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"

	"github.com/miekg/pkcs11"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/keys/plugin"
)

// server has a token for each that it was asked for.
type server struct {
	mu     sync.Mutex
	tokens map[string]*token
	wrong  map[string]string // PINs that tokens did not take
}

func newServer() *server { return &server{tokens: map[string]*token{}, wrong: map[string]string{}} }

func (s *server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tokens {
		t.close()
	}
}

// open gives the token of a URI, logged in.
func (s *server) open(uri keys.Token) (*token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tokens[uri.Same()]; t != nil {
		return t, nil
	}
	pin, err := readPIN(uri)
	if err != nil {
		return nil, err
	}
	if s.wrong[uri.Same()] == pin {
		return nil, errWrongPIN // a token locks itself after a few
	}
	t, err := openToken(uri, pin)
	if errors.Is(err, errWrongPIN) {
		s.wrong[uri.Same()] = pin
	}
	if err != nil {
		return nil, err
	}
	s.tokens[uri.Same()] = t
	return t, nil
}

// algorithms are the names of the keys that can be made.
func algorithms() map[string]sigbox.KeyDetails {
	return map[string]sigbox.KeyDetails{
		"ecdsa-p256": sigbox.ECDSAP256SHA256, "ed25519": sigbox.Ed25519, "rsa-2048": sigbox.RSAPKCS1v15With2048,
	}
}

// answer does what a call asks for.
func (s *server) answer(c plugin.Call, message []byte) (plugin.Answer, error) {
	if c.Method == plugin.MethodAlgorithms {
		return plugin.Answer{Algorithms: &plugin.AlgorithmAnswer{Algorithms: []string{"ecdsa-p256", "ed25519", "rsa-2048"}}}, nil
	}
	if c.Method == plugin.MethodDefault {
		return plugin.Answer{Default: &plugin.DefaultAnswer{Algorithm: "ecdsa-p256"}}, nil
	}
	uri, err := keys.ParseToken(c.Init.Key)
	if err != nil {
		return plugin.Answer{}, err
	}
	t, err := s.open(uri)
	if err != nil {
		return plugin.Answer{}, err
	}
	switch {
	case c.Method == plugin.MethodCreate && c.Create != nil:
		pub, err := s.create(t, uri, c.Create.Algorithm)
		if err != nil {
			return plugin.Answer{}, err
		}
		return plugin.Answer{Create: pub}, nil
	case c.Method == plugin.MethodPublic:
		k, err := t.key(uri)
		if err != nil {
			return plugin.Answer{}, err
		}
		pub, err := inPEM(k.public)
		return plugin.Answer{Public: pub}, err
	case c.Method == plugin.MethodSign && c.Sign != nil:
		k, err := t.key(uri)
		if err != nil {
			return plugin.Answer{}, err
		}
		input, hash, err := toSign(k.public, c.Sign.Options.Message, c.Init.Hash, message)
		if err != nil {
			return plugin.Answer{}, err
		}
		sig, err := t.sign(k, input, hash)
		if err != nil {
			return plugin.Answer{}, err
		}
		return plugin.Answer{Sign: &plugin.SignAnswer{Signature: sig}}, nil
	case c.Method == plugin.MethodVerify && c.Verify != nil:
		k, err := t.key(uri)
		if err != nil {
			return plugin.Answer{}, err
		}
		input, hash, err := toSign(k.public, c.Verify.Options.Message, c.Init.Hash, message)
		if err != nil {
			return plugin.Answer{}, err
		}
		return plugin.Answer{Verify: &struct{}{}}, verify(k.public, input, hash, c.Verify.Signature)
	}
	return plugin.Answer{}, fmt.Errorf("the method %.40q is not one that is understood", c.Method)
}

// verify checks a signature here: the token has nothing to add.
func verify(pub crypto.PublicKey, input []byte, hash crypto.Hash, sig []byte) error {
	ok := false
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(p, input, sig)
	case ed25519.PublicKey:
		ok = ed25519.Verify(p, input, sig)
	case *rsa.PublicKey:
		ok = rsa.VerifyPKCS1v15(p, hash, input, sig) == nil
	}
	if !ok {
		return errors.New("the signature is not the key's")
	}
	return nil
}

func (s *server) create(t *token, uri keys.Token, name string) (*plugin.PublicAnswer, error) {
	details, ok := algorithms()[name]
	if !ok {
		return nil, fmt.Errorf("keys of algorithm %.40q are not made", name)
	}
	k, err := t.key(uri)
	if errors.Is(err, errNoKey) {
		k, err = t.create(uri, details)
	}
	if err != nil {
		return nil, err
	}
	return inPEM(k.public)
}

func inPEM(pub crypto.PublicKey) (*plugin.PublicAnswer, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, err
	}
	return &plugin.PublicAnswer{PEM: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})}, nil
}

// broken reports whether an error is the token's own, after which a new run is better.
func broken(err error) bool {
	_, token := errors.AsType[pkcs11.Error](err)
	return token
}
